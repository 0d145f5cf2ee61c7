"""Which files of a quantized copy are finished: a killed Job goes on with the others.

A file stands in the journal with its SHA-256 after its bytes have reached the disk. What an earlier process left is
hashed again before it is trusted; what is not in the journal, or is not what it says, is made anew.
"""

import hashlib
import logging
import os
import re
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from deepseek_runtime.weights import seal

LOG = logging.getLogger(__name__)

PREFIX = ".quantize-"
_LINE = re.compile(r"([0-9a-f]{64}) (\S+\.safetensors)")


class Ledger:
    """The journal of one copy, for one process at a time. `files` is the directory that the copy is written into."""

    def __init__(self, place: Path, identity: str) -> None:
        self.files = seal.resume(place, identity)
        self._path = place / f"{PREFIX}{identity}"
        for other in place.glob(f"{PREFIX}*"):
            if other != self._path:
                other.unlink()
        self.hashes = self._replay()
        for path in self.files.iterdir():
            if path.name not in self.hashes:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        # Anew, so that a line that was cut is not gone on with.
        self._journal = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for name, digest in self.hashes.items():
            self._append(name, digest)

    def finish(self, name: str) -> None:
        """A file is whole and synced."""
        self.hashes[name] = sha256(self.files / name)
        self._append(name, self.hashes[name])

    def remove(self) -> None:
        """The copy is sealed: nothing will ask again."""
        self._path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._journal)

    def _append(self, name: str, digest: str) -> None:
        os.write(self._journal, f"{digest} {name}\n".encode())
        os.fdatasync(self._journal)

    def _replay(self) -> dict[str, str]:
        text = self._path.read_text("utf-8", errors="replace") if self._path.exists() else ""
        found: dict[str, str] = {}
        for line in text.splitlines():
            match = _LINE.fullmatch(line)
            if match is None:
                continue
            digest, path = match[1], self.files / match[2]
            if path.is_file() and not path.is_symlink() and sha256(path) == digest:
                found[path.name] = digest
        if found:
            LOG.info("going on: %d files are finished", len(found))
        return found


def sha256(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
