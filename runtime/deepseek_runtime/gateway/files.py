"""Files that Kubernetes replaces while we run: the service account's token, the master key."""

import time
from pathlib import Path

_REREAD_SECONDS = 10.0


class MountedFile:
    """The bytes of a small file, at most ten seconds old: a rotated Secret needs no restart."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content: bytes | None = None
        self._read_at = float("-inf")

    def read(self) -> bytes:
        """The content; errors: OSError where it cannot be read."""
        now = time.monotonic()
        if self._content is None or now - self._read_at > _REREAD_SECONDS:
            self._content = None
            self._content = self.path.read_bytes()
            self._read_at = now
        return self._content


class MasterKey(MountedFile):
    """The key that workloads' credentials are derived from."""

    LEAST_BYTES = 32

    def read(self) -> bytes:
        """The key; errors: OSError where it is missing or too short to be one."""
        key = super().read()
        if len(key) < self.LEAST_BYTES:
            raise OSError(f"{self.path} holds {len(key)} bytes; a master key has at least {self.LEAST_BYTES}.")
        return key
