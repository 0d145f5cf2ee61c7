"""Locks that the kernel drops with their holder, however it ends."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.progress import say

# clusters of several users choose ranges and devices of one machine
MACHINE = Path("/run/lock/deepseek-operator-local")


@contextmanager
def locked(path: Path, waiting_for: str) -> Iterator[None]:
    """Holds an exclusive lock on a file, which is made where it is missing and never removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for {waiting_for}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
