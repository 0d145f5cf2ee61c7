"""Which files of a quantized copy are finished: a killed Job goes on with the others.

A file stands in a journal with its SHA-256 after its bytes have reached the disk. What an earlier process left is
hashed again before it is trusted; what is not in a journal, or is not what it says, is made anew. Each pod of a Job has
a journal of its own, for not every shared volume lets two append to one file.
"""

import hashlib
import logging
import os
import re
import shutil
from collections.abc import Container
from pathlib import Path
from types import TracebackType
from typing import Self

from deepseek_runtime.weights import seal

LOG = logging.getLogger(__name__)

PREFIX = ".quantize-"
_LINE = re.compile(r"([0-9a-f]{64}) (\S+\.safetensors)")


class Ledger:
    """The journal of what one process writes of a copy. `files` is the directory that the copy is written into.

    `index` is the pod's among several, the first of which seals; `others` are the files that other pods write.
    """

    def __init__(self, place: Path, identity: str, index: int = 0, others: Container[str] = ()) -> None:
        self._place, self._identity, self._others = place, identity, others
        self.first = index == 0
        self.files = seal.resume(place, identity) if self.first else seal.share(place, identity)
        self._before = {journal: len(_lines(journal)) for journal in self._journals()}
        self.hashes = self._replay()
        if self.first:
            for other in place.glob(f"{PREFIX}*"):
                if other not in self._journals():
                    other.unlink()
        for path in self.files.iterdir():
            if path.name in self.hashes or path.name in others or not (self.first or path.suffix == ".safetensors"):
                continue
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        # Gone on with, for another pod may look for its files here; below a line that may have been cut.
        self._journal = os.open(self._path(index), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(self._journal, b"\n")
        for name, digest in self.hashes.items():
            self._append(name, digest)

    def finish(self, name: str) -> None:
        """A file is whole and synced."""
        self.hashes[name] = sha256(self.files / name)
        self._append(name, self.hashes[name])

    def told(self, index: int) -> tuple[dict[str, str], dict[str, str]]:
        """SHA-256 by name of what the pod with this index had finished before this process began, and has since."""
        journal = self._path(index)
        lines, before = _lines(journal), self._before.get(journal, 0)
        return dict(lines[:before]), dict(lines[before:])

    def remove(self) -> None:
        """The copy is sealed: nothing will ask again."""
        for path in self._journals():
            path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._journal)
        if not self.first:
            seal.leave(self._place, self._identity)

    def _path(self, index: int) -> Path:
        return self._place / f"{PREFIX}{self._identity}{f'.{index}' if index else ''}"

    def _journals(self) -> list[Path]:
        return sorted(self._place.glob(f"{PREFIX}{self._identity}*"))

    def _append(self, name: str, digest: str) -> None:
        os.write(self._journal, f"{digest} {name}\n".encode())
        os.fdatasync(self._journal)

    def _replay(self) -> dict[str, str]:
        """Journals of all pods: an earlier Job may have spread the files otherwise."""
        found: dict[str, str] = {}
        for journal in self._journals():
            for name, digest in _lines(journal):
                path = self.files / name
                if name in self._others or found.get(name) == digest or not path.is_file() or path.is_symlink():
                    continue
                if sha256(path) == digest:
                    found[name] = digest
        if found:
            LOG.info("going on: %d files are finished", len(found))
        return found


def _lines(journal: Path) -> list[tuple[str, str]]:
    """Name and SHA-256 of each whole line."""
    try:
        text = journal.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    matches = map(_LINE.fullmatch, text.splitlines())
    return [(Path(match[2]).name, match[1]) for match in matches if match is not None]


def sha256(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
