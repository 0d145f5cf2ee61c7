"""Copying a model's files from volume to volume, hashed on the way."""

import hashlib
import time
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
            while data := reading.read(CHUNK):
                digest.update(data)
                writing.write(data)
                self._done += len(data)
                seconds = time.monotonic() - self._began
                self._reporter.update(
                    "copying",
                    unit="bytes",
                    done=self._done,
                    total=max(total, self._done),
                    bytes_per_second=self._done / seconds if seconds > 1 else None,
                )
        return digest.hexdigest()
