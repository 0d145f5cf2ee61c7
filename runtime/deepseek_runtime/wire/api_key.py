"""API keys: `dsk.<namespace>.<name>.<secret>`, stored as a ConfigMap that holds nothing but a hash.

The ConfigMap is called `<name>` in `<namespace>`, has the label `deepseek-operator.io/api-key: "v1"`, and its data are
`sha256` (of the whole key, hexadecimal), `serviceAccount` (of that namespace, whose RBAC the key has) and `expires`
(RFC 3339). The secret has 256 random bits, so a plain hash cannot be searched.
"""

import hashlib
import secrets
from dataclasses import dataclass

LABEL = "deepseek-operator.io/api-key"
PREFIX = "dsk"


@dataclass(frozen=True)
class ApiKey:
    """A key's public part and its hash."""

    namespace: str
    name: str
    sha256: str


def parse(key: str) -> ApiKey | None:
    """The parts of a presented key, or None where it has not the form of one."""
    parts = key.split(".")
    if len(parts) != 4 or parts[0] != PREFIX or not all(parts):
        return None
    return ApiKey(parts[1], parts[2], hashlib.sha256(key.encode()).hexdigest())


def generate(namespace: str, name: str) -> str:
    """A new key for the ConfigMap `namespace/name`."""
    return f"{PREFIX}.{namespace}.{name}.{secrets.token_urlsafe(32)}"
