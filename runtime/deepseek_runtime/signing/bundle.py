"""A signed in-toto statement in a file: a Sigstore bundle (v0.3) around a DSSE envelope.

https://docs.sigstore.dev/about/bundle, https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md. The format
is small and this reader strict; `model_signing` itself would bring 25 packages, a client of public logs among them, and
tests hold both against each other.
"""

import base64
import binascii
import json
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec

from deepseek_runtime.signing.keys import ecdsa, fingerprint, hint

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"

MAX_BYTES = 64 << 20
"""Of a bundle: far more than the digests of all files of the largest model."""


class BadBundleError(ValueError):
    """Not a signature by this key; the message says why, as what follows the file's name."""


def unwrap(text: bytes, key: ec.EllipticCurvePublicKey) -> dict[str, Any]:
    """The statement in a bundle that this key has signed; nothing of it is read before that is proven.

    Errors: BadBundleError.
    """
    bundle = _object(text, "is no Sigstore bundle: it is not a JSON object")
    if bundle.get("mediaType") != MEDIA_TYPE:
        raise BadBundleError(f"is no Sigstore bundle of version 0.3, but {str(bundle.get('mediaType'))[:100]!r}")
    material = bundle.get("verificationMaterial")
    named = material.get("publicKey") if isinstance(material, dict) else None
    if not isinstance(named, dict):
        raise BadBundleError("is signed by a certificate or an identity; only signatures by a key are checked here")
    if named.get("hint") not in (None, "", hint(key)):
        raise BadBundleError(f"is signed by another key than the one given, whose fingerprint is {fingerprint(key)}")
    envelope = bundle.get("dsseEnvelope")
    signatures = envelope.get("signatures") if isinstance(envelope, dict) else None
    if not isinstance(envelope, dict) or not isinstance(signatures, list) or len(signatures) != 1:
        raise BadBundleError("has no DSSE envelope with one signature")
    if envelope.get("payloadType") != PAYLOAD_TYPE:
        raise BadBundleError("signs something else than an in-toto statement")
    payload = _decoded(envelope.get("payload"))
    signature = _decoded(signatures[0].get("sig") if isinstance(signatures[0], dict) else None)
    try:
        key.verify(signature, encoding(payload), ecdsa(key))
    except InvalidSignature as error:
        raise BadBundleError(f"has no valid signature by the key {fingerprint(key)}") from error
    statement = _object(payload, "signs something else than a JSON object")
    if statement.get("_type") != STATEMENT_TYPE:
        raise BadBundleError("signs something else than an in-toto statement of version 1")
    return statement


def wrap(statement: dict[str, Any], key: ec.EllipticCurvePrivateKey) -> str:
    """A bundle in which this key has signed a statement."""
    payload, public = json.dumps(statement, indent=2, sort_keys=True).encode(), key.public_key()
    signature = key.sign(encoding(payload), ecdsa(public))
    bundle = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": hint(public)}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return json.dumps(bundle) + "\n"


def encoding(payload: bytes) -> bytes:
    """What is signed of a payload: DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def _decoded(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise BadBundleError("has a payload or signature that is not base64") from error


def _object(text: bytes, otherwise: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadBundleError(otherwise) from error
    if not isinstance(value, dict):
        raise BadBundleError(otherwise)
    return value
