"""One line of the log, and how it is chained to the line before.

A line is a JSON object, `{"seq":…,"previous":"<hash of the line before>",…,"hash":"<its own hash>"}`, where `hash` is
the SHA-256 of the line's bytes before `,"hash"`. A changed byte breaks the line's own hash; a
rewritten line breaks the next one's `previous`.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

import orjson

GENESIS = "0" * 64
"""What the first record of a log names as the one before."""

_TAIL = re.compile(rb',"hash":"([0-9a-f]{64})"\}')
_TAIL_BYTES = len(b',"hash":"') + 64 + len(b'"}')


class BrokenLineError(ValueError):
    """A line is not what was written; the message says why."""


@dataclass(frozen=True, slots=True)
class Link:
    """Where a chain has come to: the last record's number and hash."""

    seq: int = 0
    hash: str = GENESIS


def seal(record: dict[str, Any], before: Link) -> tuple[bytes, Link]:
    """The line (with its line feed) of the record that follows `before`, and the link to it."""
    body = orjson.dumps({"seq": before.seq + 1, "previous": before.hash, **record})[:-1]
    digest = hashlib.sha256(body).hexdigest()
    return b'%b,"hash":"%b"}\n' % (body, digest.encode()), Link(before.seq + 1, digest)


def open_line(line: bytes) -> tuple[dict[str, Any], Link]:
    """The record in a line (without its line feed), checked against its own hash; errors: BrokenLineError."""
    found = _TAIL.fullmatch(line, len(line) - _TAIL_BYTES) if len(line) > _TAIL_BYTES else None
    if found is None:
        raise BrokenLineError("it does not end with a hash")
    digest = found.group(1).decode()
    if hashlib.sha256(line[:-_TAIL_BYTES]).hexdigest() != digest:
        raise BrokenLineError("its content does not match its hash")
    try:
        record = orjson.loads(line)
        link = Link(record["seq"], digest)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise BrokenLineError("it is not a record") from None
    return record, link
