"""The credential of one workload, a key pair: the operator and the gateway derive it, pods hold its public half.

The operator's namespace has one random master key. A workload's private key (Ed25519, RFC 8032) is the HMAC-SHA256 of
its name under that key. Pods can check with the public key who asks, and neither they nor whoever reads their
environment can ask in the operator's name.
"""

import hashlib
import hmac
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def workload(kind: str, namespace: str, name: str, uid: str) -> str:
    """The name under which a resource's pods are addressed: unique for the life of the resource."""
    return f"{kind}/{namespace}/{name}/{uid}"


@lru_cache(maxsize=256)
def private_key(master: bytes, workload: str) -> Ed25519PrivateKey:
    """What requests to a workload's pods are signed with."""
    return Ed25519PrivateKey.from_private_bytes(hmac.digest(master, workload.encode(), hashlib.sha256))


@lru_cache(maxsize=4096)
def public_key(master: bytes, workload: str) -> str:
    """What a workload's pods may know of it: 64 hexadecimal digits, no secret."""
    return private_key(master, workload).public_key().public_bytes_raw().hex()
