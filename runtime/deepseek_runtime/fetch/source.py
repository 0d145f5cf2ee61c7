"""What every source of models does: list its files at a revision that is pinned, and give their bytes in parts."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from deepseek_runtime.fetch.troubles import Retries
from deepseek_runtime.wire.base import WireModel

MAX_FILES = 20_000


class RemoteFile(WireModel):
    """A file of a source, with what pins it.

    A hub has a SHA-256 of large files (git LFS) and the SHA-1 of the git blob of small ones; a store has an entity tag
    and, where it keeps versions, a version.
    """

    path: str
    size: int
    sha256: str | None = None
    blob: str | None = None
    etag: str | None = None
    stored_version: str | None = None
    packed: bool = False  # an archive, to be unpacked
    below: str = ""  # of an archive: the folder that counts, with its slash


@dataclass(frozen=True, slots=True)
class Listing:
    """All files of a source, in the order of their paths; `revision` pins them where the source itself has one."""

    files: tuple[RemoteFile, ...]
    revision: str | None = None


class Body(Protocol):
    """Bytes of one file, from the first that was asked for on; of a whole one from its first."""

    @property
    def whole(self) -> bool:
        """Whether the server gives no parts."""
        ...

    def into(self, buffer: memoryview) -> int:
        """Fill a buffer as far as the body goes; 0 at its end. Errors: TransientError, JobError."""
        ...


class Reader(Protocol):
    """The connections of one thread, kept open from file to file. `abort` may be called by any thread."""

    def open(self, revision: str, file: RemoteFile, begin: int, end: int) -> AbstractContextManager[Body]:
        """The bytes from `begin` up to `end`. Errors: TransientError for what may pass, JobError for what stays."""
        ...

    def abort(self) -> None:
        """Wake a thread that reads, with a TransientError."""
        ...

    def close(self) -> None:
        """Close every connection."""
        ...


class Source(Protocol):
    """Where a model comes from. Its files do not change under a plan: one that did is noticed, and is an error."""

    @property
    def where(self) -> str:
        """The field of the resource that names it, for messages."""
        ...

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    def listing(self, retries: Retries) -> Listing:
        """What it has now. Errors: JobError that says what to do."""
        ...

    def reader(self) -> Reader:
        """Connections for one thread more."""
        ...

    def forget(self, file: RemoteFile) -> None:
        """What came for a file was wrong: ask anew where it is."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
