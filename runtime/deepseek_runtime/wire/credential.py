"""The credential of one workload: the operator and the gateway derive it, the pod holds nothing but its fingerprint.

The operator's namespace has one random master key. A workload's token is the HMAC-SHA256 (RFC 2104) of its name under
that key; its pods are told the SHA-256 of the token, which is no secret, and compare.
"""

import hashlib
import hmac


def workload(kind: str, namespace: str, name: str, uid: str) -> str:
    """The name under which a resource's pods are addressed: unique for the life of the resource."""
    return f"{kind}/{namespace}/{name}/{uid}"


def derive(master: bytes, workload: str) -> str:
    """The bearer token for a workload's pods."""
    return hmac.new(master, workload.encode(), hashlib.sha256).hexdigest()


def fingerprint(token: str) -> str:
    """What a pod may know of its token: 64 hexadecimal digits."""
    return hashlib.sha256(token.encode()).hexdigest()


def accepts(expected: str, authorization: str | None) -> bool:
    """Whether an Authorization header carries the token with this fingerprint; compared in constant time."""
    scheme, _, token = (authorization or "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(fingerprint(token.strip()), expected)
