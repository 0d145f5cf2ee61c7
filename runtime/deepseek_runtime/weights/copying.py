"""Copying a model's files from volume to volume, hashed on the way."""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from deepseek_runtime.job.reporter import Reporter

CHUNK = 1 << 20


class Copier:
    """Counts the bytes of all files that it copies together."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._done = 0
        self._began = time.monotonic()

    def copy(self, reading: BinaryIO, target: Path, total: int) -> str:
        """Write a new file; returns its SHA-256. `total`: bytes of all files that are to be copied."""
        digest = hashlib.sha256()
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as writing:
            for data in self._read(reading, total):
                digest.update(data)
                writing.write(data)
        return digest.hexdigest()

    def go_on(self, source: Path, target: Path, total: int) -> str:
        """As `copy`, but behind what the target has already, which is hashed and not written again."""
        digest = hashlib.sha256()
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as reading, target.open("a+b") as writing:
            writing.seek(0)
            for data in self._read(writing, total):
                digest.update(data)
            reading.seek(writing.tell())
            for data in self._read(reading, total):
                digest.update(data)
                writing.write(data)
        return digest.hexdigest()

    def _read(self, file: BinaryIO, total: int) -> Iterator[bytes]:
        while data := file.read(CHUNK):
            yield data
            self._done += len(data)
            seconds = time.monotonic() - self._began
            self._reporter.update(
                "copying",
                unit="bytes",
                done=self._done,
                total=max(total, self._done),
                bytes_per_second=self._done / seconds if seconds > 1 else None,
            )
