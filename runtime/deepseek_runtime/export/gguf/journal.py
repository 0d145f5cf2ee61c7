"""How far a file is that is written from its beginning to its end: a killed Job goes on behind what is whole.

A line says what SHA-256 all bytes up to an offset have, and follows these bytes to the disk. What an earlier process
left is hashed again before it is trusted, in the same pass that the file's own digest needs.
"""

import os
import re
from pathlib import Path

PREFIX = ".export-"
_LINE = re.compile(r"(\d+) ([0-9a-f]{64})")


class Journal:
    """The journal of the work `identity`, beside its partial directory; those of other works are removed."""

    def __init__(self, place: Path, identity: str) -> None:
        self._path = place / f"{PREFIX}{identity}"
        for other in place.glob(f"{PREFIX}*"):
            if other != self._path:
                other.unlink()

    def last(self, size: int) -> tuple[int, str] | None:
        """The furthest offset within a file of this size and the digest up to there; no line that was cut counts."""
        try:
            lines = self._path.read_text("utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return None
        found = [(int(line[1]), line[2]) for line in map(_LINE.fullmatch, lines) if line is not None]
        return max((each for each in found if each[0] <= size), default=None)

    def mark(self, offset: int, sha256: str) -> None:
        """The bytes up to `offset` are on the disk."""
        with self._path.open("ab") as file:
            file.write(f"\n{offset} {sha256}\n".encode())  # below a line that may have been cut
            file.flush()
            os.fdatasync(file.fileno())

    def remove(self) -> None:
        """The file is sealed, or begins again."""
        self._path.unlink(missing_ok=True)
