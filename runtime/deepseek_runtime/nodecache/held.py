"""The lock on a copy's directory, by which whoever needs the copy keeps it from being evicted."""

import fcntl
import os
from pathlib import Path
from typing import Self

from deepseek_runtime.weights import seal
from deepseek_runtime.wire.paths import ARTIFACT, RESULT_FILE

KEEPER_FILE = "keeper"
"""Beside a copy: who had it made, as text; its time is when a pod last began or ceased to keep it."""


class Held:
    """A lock on a copy's directory, until `release` or the end of the process."""

    def __init__(self, place: Path, descriptor: int) -> None:
        self.place = place
        self._descriptor = descriptor

    @classmethod
    def take(cls, place: Path, how: int) -> Self | None:
        """LOCK_SH or LOCK_EX, at once; None where somebody's lock forbids it, or nothing is there (any more)."""
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), place.stat()):  # else it was removed meanwhile
                return cls(place, descriptor)
        except (BlockingIOError, FileNotFoundError):
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    @property
    def whole(self) -> bool:
        """Whether it has been sealed; what it holds is verified by who reads it."""
        return (self.place / RESULT_FILE).exists()

    @property
    def artifact(self) -> Path:
        """Where the files are."""
        return self.place / ARTIFACT

    def become(self, how: int) -> bool:
        """Another lock instead; whether there was no other's against it (if there was, this one may be lost)."""
        try:
            fcntl.flock(self._descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def touch(self, keeper: str | None = None) -> None:
        """Note that the copy is kept now, and by whom."""
        if keeper is not None:
            seal.attach(self.place, KEEPER_FILE, keeper)
        else:
            os.utime(self.place / KEEPER_FILE)

    def release(self) -> None:
        """Let go."""
        os.close(self._descriptor)
