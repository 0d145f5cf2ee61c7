"""Files on somebody's volume: found beneath its root whatever links lie there, and read without being changed."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO

from deepseek_runtime.fetch.selection import NEEDED
from deepseek_runtime.job.errors import DataError, JobError
from deepseek_runtime.weights.safety import PICKLES
from deepseek_runtime.wire.paths import MANIFEST_FILE

_NAMED = 12


class Folder:
    """One folder of a volume. Links may lead to other places on the same volume, as a hub's cache has them."""

    def __init__(self, root: Path, path: str | None, claim: str) -> None:
        """`claim`: what the volume is called, for messages. Errors: DataError `PathNotFound`, `UnsafeFile`."""
        self._root = root.resolve()
        self._folder = self._root / (path or ".")
        self._claim = claim
        with self._told(self._folder):
            if not self._folder.resolve().is_relative_to(self._root):
                raise _unsafe(self._folder, "leads out of the volume")
            if not self._folder.is_dir():
                raise DataError("PathNotFound", self._missing(path or "."))
            self.names = tuple(sorted(entry.name for entry in self._folder.iterdir()))

    def model_files(self) -> tuple[str, ...]:
        """Names of the files that a model is made of; all others are left where they are and never opened."""
        return tuple(name for name in self.names if name != MANIFEST_FILE and _needed(name))

    @property
    def pickles(self) -> tuple[str, ...]:
        """Names of files whose readers can be made to run code."""
        return tuple(name for name in self.names if Path(name).suffix.lower() in PICKLES)

    def size(self, name: str) -> int:
        """Bytes of a file."""
        with self.open(name) as file:
            return os.fstat(file.fileno()).st_size

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A plain file of this volume. Errors: DataError `UnsafeFile`, `Unreadable`; JobError `SourceChanged`."""
        path = self._folder / name
        with self._told(path):
            if not stat.S_ISREG(path.stat().st_mode):
                raise _unsafe(path, "is a folder, a device or a pipe")
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            # Asked of what is open, and not of its name, which may by now mean something else.
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise _unsafe(path, "is a device or a pipe")
            if not Path(f"/proc/self/fd/{descriptor}").readlink().is_relative_to(self._root):
                raise _unsafe(path, "is a link that leads out of the volume")
            yield file
            after = os.fstat(descriptor)
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise JobError("SourceChanged", f"{path} changed while it was copied. It is copied again.")

    @contextmanager
    def _told(self, path: Path) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise DataError(
                "Unreadable",
                f"{path} on {self._claim} may not be read by user {os.getuid()}, group {os.getgid()}. Give it to them "
                "there, as with `chmod -R a+rX`.",
            ) from error
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DataError("PathNotFound", self._missing(str(path.relative_to(self._root)))) from error
        except OSError as error:
            raise _unsafe(path, f"cannot be read ({error.strerror})") from error

    def _missing(self, path: str) -> str:
        there = sorted(entry.name for entry in self._root.iterdir())
        holds = f"holds {', '.join(there[:_NAMED])}" if there else "is empty"
        return f"{self._claim} has no {path} that is a folder or file; its root {holds}. Correct the path."


def _needed(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in NEEDED)


def _unsafe(path: Path, what: str) -> DataError:
    return DataError("UnsafeFile", f"{path} {what}. Put the model's own files there.")
