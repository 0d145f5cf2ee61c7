"""Models in object stores: Amazon S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage.

The protocols and signatures are those of object_store (https://docs.rs/object_store) in its Python form, obstore. It
connects to nothing but our own proxy, so that the rules for addresses hold for it as well.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

import obstore
from obstore.exceptions import BaseError

from deepseek_runtime.fetch.addresses import Network
from deepseek_runtime.fetch.guard import Guard
from deepseek_runtime.fetch.source import MAX_FILES, Listing, RemoteFile
from deepseek_runtime.fetch.store_access import open_store, read_access
from deepseek_runtime.fetch.store_errors import changed, explained
from deepseek_runtime.fetch.troubles import Retries, StoppedError, TransientError
from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.wire.job import ObjectStoreSource

if TYPE_CHECKING:
    from obstore import GetOptions

Answer = TypeVar("Answer")

BLOCK = 256 << 10
_OPTIONS = {
    "allow_http": True,  # where credentials would go in the clear, the guard refuses
    "connect_timeout": timedelta(seconds=30),  # of the way to the guard and from there
    "read_timeout": timedelta(seconds=30),
    "timeout": timedelta(hours=1),  # of a whole answer, which may be slow
}


class ObjectStore:
    """The objects right below a prefix of a bucket or container."""

    where = "source.objectStore"

    def __init__(self, wanted: ObjectStoreSource, allowed: Sequence[Network]) -> None:
        self._wanted = wanted
        self._access = read_access(wanted)
        self._guard = Guard(allowed, secret=self._access.secret)
        try:
            self._store = open_store(wanted, self._access, {**_OPTIONS, "proxy_url": self._guard.url})
        except (BaseError, ValueError) as error:
            self.__exit__(None, None, None)
            raise ConfigurationError(
                "InvalidConfig",
                f"{wanted.url} cannot be opened with {self._access.how}. Check url and endpoint of source.objectStore, "
                "and what the Secret's keys hold.",
            ) from error

    @property
    def name(self) -> str:
        """The URL."""
        return self._wanted.url

    def listing(self, retries: Retries) -> Listing:
        """The objects with what pins them: their entity tag, and their version where the store keeps versions."""
        attempt = 0
        while True:
            try:
                found = self.asked(lambda: obstore.list_with_delimiter(self._store))["objects"]
            except TransientError as trouble:
                attempt += 1
                retries.wait(trouble, attempt)
                continue
            retries.heard()
            break
        files = [
            RemoteFile(path=each["path"], size=each["size"], etag=each["e_tag"], stored_version=each["version"])
            for each in found
        ]
        if not files:
            raise ConfigurationError(
                "SourceNotFound",
                f"{self.name} has no objects right below it. Correct source.objectStore.url: it names the folder with "
                "config.json and the weights.",
            )
        if len(files) > MAX_FILES:
            raise DataError("InvalidSource", f"{self.name} has more than {MAX_FILES:,} objects.")
        return Listing(tuple(sorted(files, key=lambda file: file.path)))

    def part(self, file: RemoteFile, begin: int, end: int) -> Iterator[bytes]:
        """Bytes of the very object that was listed."""
        options: GetOptions = {"range": (begin, end)}
        if file.stored_version is not None:
            options["version"] = file.stored_version
        if file.etag is not None:
            options["if_match"] = file.etag
        found = self.asked(lambda: obstore.get(self._store, file.path, options=options), file)
        if found.meta["size"] != file.size or (file.etag is not None and found.meta["e_tag"] != file.etag):
            raise changed(self._wanted, file)
        return iter(found.stream(BLOCK))

    def reader(self) -> "StoreReader":
        """One thread's."""
        return StoreReader(self)

    def cut(self) -> None:
        """End every connection there is."""
        self._guard.cut()

    def forget(self, file: RemoteFile) -> None:
        """An object is where its name says."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._guard.__exit__(kind, error, traceback)

    def asked(self, ask: Callable[[], Answer], file: RemoteFile | None = None) -> Answer:
        """What the library answers. Errors: TransientError, JobError; first what the guard refused."""
        try:
            return ask()
        except (BaseError, OSError, ValueError) as error:
            raise self._guard.refusal() or explained(error, self._wanted, self._access, file) from error


class StoreReader:
    """One thread's way to the store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._aborted = False

    @contextmanager
    def open(self, revision: str, file: RemoteFile, begin: int, end: int) -> Iterator["StoreBody"]:
        """A part of an object, which is still the one that was listed. Errors: DataError `RevisionMoved`, …"""
        if self._aborted:
            raise StoppedError
        yield StoreBody(self._store, file, self._store.part(file, begin, end))

    def abort(self) -> None:
        """Wake the thread: the connections are the library's, so all of them end."""
        self._aborted = True
        self._store.cut()

    def close(self) -> None:
        """The connections are the library's."""


class StoreBody:
    """What comes of an object, block by block."""

    whole = False

    def __init__(self, store: ObjectStore, file: RemoteFile, blocks: Iterator[bytes]) -> None:
        self._store, self._file, self._blocks = store, file, blocks
        self._rest = memoryview(b"")

    def into(self, buffer: memoryview) -> int:
        """Fill a buffer as far as the block goes; 0 at the end."""
        if not self._rest:
            self._rest = memoryview(self._store.asked(lambda: next(self._blocks, b""), self._file))
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
