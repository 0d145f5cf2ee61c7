"""Segments: the files of one replica's log, `audit-00000001.jsonl` and on, and what a crash leaves at their ends."""

import hashlib
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deepseek_runtime.gateway.audit.chain import BrokenLineError, Link, open_line

_NAME = re.compile(r"audit-(\d{8})\.jsonl")


def path(directory: Path, number: int) -> Path:
    """The segment's file."""
    return directory / f"audit-{number:08d}.jsonl"


def numbers(directory: Path) -> list[int]:
    """The numbers of the segments that are there, ascending."""
    found = (_NAME.fullmatch(entry.name) for entry in directory.iterdir())
    return sorted(int(match.group(1)) for match in found if match)


@dataclass(frozen=True, slots=True)
class Torn:
    """Bytes after the last whole record of a segment. They stay where they are; the next segment describes them."""

    segment: str
    offset: int
    length: int
    sha256: str

    @classmethod
    def of(cls, segment: Path, offset: int, tail: bytes) -> "Torn":
        """Describe the tail that starts at `offset`."""
        return cls(segment.name, offset, len(tail), hashlib.sha256(tail).hexdigest())

    def to_record(self) -> dict[str, Any]:
        """As it stands in the record of the next start."""
        return asdict(self)


@dataclass(slots=True)
class End:
    """Where a log ends: its last link, the segment to go on with, and tails that no record describes yet."""

    link: Link = field(default_factory=Link)
    segment: int = 1
    size: int = 0
    torn: list[Torn] = field(default_factory=list)


def find_end(directory: Path) -> End:
    """Where to go on: behind the last whole record, in a new segment where something torn follows it."""
    end = End()
    existing = numbers(directory)
    for number in reversed(existing):
        file = path(directory, number)
        content = file.read_bytes()
        offset, link = _whole_records(content)
        if content[offset:]:
            end.torn.insert(0, Torn.of(file, offset, content[offset:]))
        if number == existing[-1]:
            end.segment = number + 1 if end.torn else number
            end.size = 0 if end.torn else len(content)
        if link is not None:
            end.link = link
            break
    return end


def _whole_records(content: bytes) -> tuple[int, Link | None]:
    offset, last = 0, None
    while (line_end := content.find(b"\n", offset)) >= 0:
        try:
            _, link = open_line(content[offset:line_end])
        except BrokenLineError:
            break
        offset, last = line_end + 1, link
    return offset, last
