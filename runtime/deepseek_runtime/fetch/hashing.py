"""The hash of a file while it is written by several connections.

SHA-256 is taken in the order of the bytes. The connection that is at the frontier hashes the buffer it has just
received; what others wrote ahead of it, or an earlier process, is read back when the frontier gets there. hashlib
cannot save its state, so the part of an unfinished file that a killed fetch left is read again, never fetched again.
"""

import hashlib
import os
import threading

READ = 1 << 20


class FileHash:
    """SHA-256 of a file's bytes, and the SHA-1 of its git blob where that is what the hub names."""

    def __init__(self, size: int, *, blob: bool) -> None:
        self.position = 0
        self._lock = threading.Lock()
        self._sha256 = hashlib.sha256()
        self._blob = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False) if blob else None

    def feed(self, offset: int, data: memoryview) -> None:
        """Bytes that were just written; they count only at the frontier."""
        if offset != self.position:
            return
        with self._lock:
            if offset == self.position:
                self._update(data)

    def catch_up(self, file: int, until: int, buffer: memoryview) -> bool:
        """Hash one buffer of what is written up to `until`; whether there was any to be hashed here."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            wanted = min(until - self.position, len(buffer))
            if wanted <= 0:
                return False
            count = os.preadv(file, [buffer[:wanted]], self.position)
            self._update(buffer[:count])
        finally:
            self._lock.release()
        return True

    def digests(self) -> tuple[str, str | None]:
        """SHA-256, and the blob's SHA-1."""
        return self._sha256.hexdigest(), self._blob.hexdigest() if self._blob else None

    def _update(self, data: memoryview) -> None:
        self._sha256.update(data)
        if self._blob:
            self._blob.update(data)
        self.position += len(data)
