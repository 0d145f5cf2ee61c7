"""The base of every wire format, and the canonical form that identities and digests are taken of."""

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

VERSION = 1
"""The newest wire version this code reads and the one it writes. Fields are only ever added within a version."""


class WireModel(BaseModel):
    """Immutable, camelCase on the wire; unknown fields are ignored, so that an older reader survives a newer writer.

    Who does what a document asks for refuses them instead: see `job`.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="ignore", frozen=True
    )

    def to_json(self) -> str:
        """Compact JSON in camelCase, absent fields left out."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


def canonical(value: Any) -> bytes:
    """JSON with sorted keys, no white space and UTF-8: equal values give equal bytes (the spirit of RFC 8785)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: Any) -> str:
    """Lower-case hexadecimal SHA-256 of the canonical form."""
    return hashlib.sha256(canonical(value)).hexdigest()
