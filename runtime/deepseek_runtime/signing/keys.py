"""Keys of signatures: elliptic curves alone, as OpenSSF Model Signing has them."""

import hashlib
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from deepseek_runtime.job.errors import ConfigurationError

HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}
"""The hash that goes with each curve."""

_WANTED = "an elliptic-curve key (P-256, P-384 or P-521) in PEM"


def public_key(pem: str) -> ec.EllipticCurvePublicKey:
    """The key in a PEM text; ConfigurationError `InvalidKey`."""
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _invalid("verification.signature.publicKey", "Copy the signer's public key into it.") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in HASHES:
        raise _invalid("verification.signature.publicKey", "Copy the signer's public key into it.")
    return key


def private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key in a file, without a password; ConfigurationError `SecretMissing`, `InvalidKey`, neither quotes it."""
    remedy = "Make one with `openssl ecparam -name prime256v1 -genkey -noout`."
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise ConfigurationError(
            "SecretMissing", "The key that signing.keySecretRef names cannot be read. Check the Secret."
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _invalid("the key that signing.keySecretRef names", remedy) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in HASHES:
        raise _invalid("the key that signing.keySecretRef names", remedy)
    return key


def ecdsa(key: ec.EllipticCurvePublicKey) -> ec.ECDSA:
    """How messages are signed and checked with a key."""
    return ec.ECDSA(HASHES[key.curve.name]())


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of the key's SubjectPublicKeyInfo: `openssl pkey -pubin -outform DER | sha256sum`."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def hint(key: ec.EllipticCurvePublicKey) -> str:
    """What a bundle calls the key that signed it: SHA-256 of its PEM."""
    return hashlib.sha256(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _invalid(where: str, remedy: str) -> ConfigurationError:
    return ConfigurationError("InvalidKey", f"{where[0].upper()}{where[1:]} is not {_WANTED}. {remedy}")
