"""Writes batches of records to segments, each batch durable when `write` returns. Blocking: called in a thread."""

import fcntl
import os
from pathlib import Path
from typing import Any

from deepseek_runtime.gateway.audit import segment
from deepseek_runtime.gateway.audit.chain import Link, seal


class SegmentWriter:
    """One replica's log, open for writing; errors of all methods: OSError."""

    def __init__(self, directory: Path, max_segment_bytes: int) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._max_bytes = max_segment_bytes
        self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._file = -1
        try:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OSError(f"Another gateway writes to {directory}; give each replica a name of its own.") from None
            end = segment.find_end(directory)
            self.link = end.link
            self.torn = end.torn
            self._open(end.segment, end.size)
        except OSError:
            self.close()
            raise

    def write(self, records: list[dict[str, Any]]) -> list[Link]:
        """Append the records and sync them. After an error nothing of them is in the log."""
        if self._size >= self._max_bytes:
            self._open(self._number + 1, 0)
        link, links, lines = self.link, [], []
        for record in records:
            line, link = seal(record, link)
            lines.append(line)
            links.append(link)
        content = b"".join(lines)
        try:
            self._write_all(content)
            os.fdatasync(self._file)
        except OSError:
            # Nobody was told that these records are kept, so they may go; a torn tail would only need explaining.
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(content)
        self.link = link
        return links

    def close(self) -> None:
        """Let go of the files; the lock goes with them."""
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1

    def _open(self, number: int, size: int) -> None:
        name = segment.path(self._directory, number)
        opened = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._number, self._size = opened, number, size
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)  # the new file's name must survive as well
        finally:
            os.close(directory)

    def _write_all(self, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(self._file, rest) :]
