"""The proof that a request to a pod comes from the operator or the gateway: a signature over what is asked.

It stands in the Authorization header in place of a bearer token, so that whoever receives a request, or reads it on its
way, learns nothing to ask with: a proof is good for one method, path and body, at one workload, within a minute of its
making, and once at each process.

    Authorization: DeepSeek-Ed25519 <seconds since 1970>.<nonce>.<SHA-256 of the body>.<signature>
"""

import hashlib
import re
import secrets
import threading
import time
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SCHEME = "DeepSeek-Ed25519"
LIFETIME = 60
"""Seconds before and after its making, so that the clocks of two machines may differ by almost as much."""
MOST_REMEMBERED = 100_000
"""Proofs accepted in two minutes: 800 a second. Those of four minutes at most are remembered, which takes 30 MB."""

_HEADER = re.compile(rf"{SCHEME} ([0-9]{{1,12}})\.([0-9a-f]{{32}})\.([0-9a-f]{{64}})\.([0-9a-f]{{128}})")


class RefusedError(Exception):
    """The request proves nothing; the message says why."""


def prove(key: Ed25519PrivateKey, method: str, target: str, body: bytes, now: float) -> str:
    """The Authorization header of one request; `target` is the path as sent, with its query."""
    issued, nonce, digest = str(int(now)), secrets.token_hex(16), hashlib.sha256(body).hexdigest()
    signature = key.sign(_signed(method, target, issued, nonce, digest)).hex()
    return f"{SCHEME} {issued}.{nonce}.{digest}.{signature}"


class Verifier:
    """Checks proofs with a workload's public key (64 hexadecimal digits; ValueError where it is none). Thread-safe.

    One for each server: it remembers what it has accepted.
    """

    def __init__(self, public_key: str, clock: Callable[[], float] = time.time) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        self._clock = clock
        self._accepted = _Accepted()

    def check(self, method: str, target: str, authorization: str | None) -> str:
        """The SHA-256 that the body must have: for `check_body`, once it is read. Errors: RefusedError."""
        match = _HEADER.fullmatch(authorization or "")
        if match is None:
            raise RefusedError(f"It needs an Authorization header of the scheme {SCHEME}.")
        issued, nonce, digest, signature = match.groups()
        try:
            self._key.verify(bytes.fromhex(signature), _signed(method, target, issued, nonce, digest))
        except InvalidSignature:
            raise RefusedError("The proof is for another request or another workload.") from None
        now = self._clock()
        if abs(now - int(issued)) > LIFETIME:
            ahead = f"{abs(now - int(issued)):.0f} s {'behind' if now > int(issued) else 'ahead of'}"
            raise RefusedError(f"The proof was made {ahead} this machine's clock; {LIFETIME} s are allowed.")
        self._accepted.add(bytes.fromhex(nonce), now)
        return digest


def check_body(digest: str, body: bytes) -> None:
    """Whether this is the body that the proof is about. Errors: RefusedError."""
    if hashlib.sha256(body).hexdigest() != digest:
        raise RefusedError("The proof is for another body.")


def _signed(method: str, target: str, issued: str, nonce: str, digest: str) -> bytes:
    asked = "\n".join(("deepseek-operator.io/request/v1", method, target, issued, nonce, digest))
    return asked.encode(errors="surrogateescape")  # how servers show bytes that are no UTF-8


class _Accepted:
    """Nonces, for as long as their proofs could be shown again: in two sets, the older of which is dropped whole."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()
        self._turned = float("-inf")

    def add(self, nonce: bytes, now: float) -> None:
        """Errors: RefusedError where it was there, or there are too many."""
        with self._lock:
            if now - self._turned > 2 * LIFETIME:
                self._old, self._young, self._turned = self._young, set(), now
            if nonce in self._young or nonce in self._old:
                raise RefusedError("The proof was used before.")
            if len(self._young) >= MOST_REMEMBERED:
                raise RefusedError(f"More than {MOST_REMEMBERED} requests within {2 * LIFETIME} s; try again later.")
            self._young.add(nonce)
