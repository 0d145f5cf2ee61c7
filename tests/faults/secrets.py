"""Values of Secrets that can be told from everything else, and the forms in which they could leak."""

import base64
from collections.abc import Iterator

TOKEN = "hf_markedTokenOfTheHub0123456789"
MASTER_KEY = b"marked master key of 32 bytes..."


def _forms(value: bytes) -> Iterator[str]:
    yield value.decode()
    yield value.hex()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(value).decode().rstrip("=")


MARKS = frozenset(form for value in (TOKEN.encode(), MASTER_KEY) for form in _forms(value))
"""None of these may stand in an object that is no Secret, in an event, or in a log record."""
