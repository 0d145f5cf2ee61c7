"""Archives of strangers: tar, tar.gz and zip, from which nothing but plain files is ever made.

Every name is checked before the first byte is written, and every file is opened beneath the root (`beneath.open_file`),
so that neither a link, nor a device, nor `..`, nor a name that comes twice reaches anything else.
"""

import gzip
import hashlib
import io
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Protocol, cast

from deepseek_runtime.fetch.beneath import open_file
from deepseek_runtime.fetch.selection import name_problem
from deepseek_runtime.fetch.source import MAX_FILES, RemoteFile
from deepseek_runtime.job.errors import DataError

BLOCK = 1 << 20
_AT_ONCE = 16 << 20
"""Bytes that one read of a tar may ask for: the length of a long name is what its header says."""

_MALFORMED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What the readers of the standard library raise on bytes that are no archive, or a broken one."""


_MOST = 20 * MAX_FILES
"""Entries of an archive, whatever they are: a base image's layer has so many, and each takes a kilobyte of memory."""


class _Archive(Protocol):
    def members(self, below: str | tuple[str, ...]) -> Iterator[RemoteFile]:
        """Plain files whose names begin so; DataError `UnsafeFile` for anything else there but folders."""
        ...

    def open(self, name: str) -> IO[bytes]:
        """One of them."""
        ...


def members(path: Path, shown: str, below: str = "") -> tuple[RemoteFile, ...]:
    """The files in an archive below a folder, in the order of their names. `shown` is what messages call it.

    Errors: DataError `UnsafeFile` naming a link or device, `UnsafeName`, `BadArchive`, `InvalidSource` for too many.
    """
    found: dict[str, RemoteFile] = {}
    with _opened(path, shown) as archive:
        for member in archive.members(below):
            if (problem := name_problem(member.path)) is not None:
                raise DataError("UnsafeName", f"The name {member.path[:200]!r} in {shown} {problem}. Pack it anew.")
            if member.path in found:
                raise DataError("UnsafeName", f"{member.path[:200]!r} is twice in {shown}. Pack it anew.")
            if len(found) == MAX_FILES:
                raise DataError("InvalidSource", f"{shown} has more than {MAX_FILES:,} files.")
            found[member.path] = member
    return tuple(found[name] for name in sorted(found))


def unpack(path: Path, shown: str, root: Path, wanted: Mapping[str, str]) -> dict[str, str]:
    """Write members beneath a root; SHA-256 by the new paths. `wanted`: the new path of each, as it was checked."""
    hashes = {}
    with _opened(path, shown) as archive:
        for member in archive.members(tuple(wanted)):
            if (target := wanted.get(member.path)) is None:
                continue
            digest, left = hashlib.sha256(), member.size
            with archive.open(member.path) as reading, os.fdopen(open_file(root, target, 0), "wb") as writing:
                while left > 0 and (data := reading.read(min(BLOCK, left))):
                    digest.update(data)
                    writing.write(data)
                    left -= len(data)
            if left:
                raise EOFError
            hashes[target] = digest.hexdigest()
    return hashes


@contextmanager
def _opened(path: Path, shown: str) -> Iterator[_Archive]:
    try:
        with path.open("rb") as file:
            begin = file.read(4)
            file.seek(0)
            if begin.startswith(b"PK"):
                with closing(zipfile.ZipFile(file)) as zipped:
                    yield _Zip(zipped, shown)
            elif begin.startswith(b"\x1f\x8b"):
                with gzip.GzipFile(fileobj=file) as unzipped, _tar(unzipped) as tar:
                    yield _Tar(tar, shown)
            else:
                with _tar(file) as tar:
                    yield _Tar(tar, shown)
    except _MALFORMED as error:
        raise DataError(
            "BadArchive",
            f"{shown} is no tar, tar.gz or zip, or a broken one ({type(error).__name__}). Pack it anew.",
        ) from error


def _tar(file: IO[bytes] | gzip.GzipFile) -> tarfile.TarFile:
    return tarfile.open(fileobj=cast("IO[bytes]", _Bounded(cast("io.BufferedIOBase", file))), mode="r:")


class _Tar:
    def __init__(self, tar: tarfile.TarFile, shown: str) -> None:
        self._tar, self._shown = tar, shown
        self._found: dict[str, tarfile.TarInfo] = {}

    def members(self, below: str | tuple[str, ...]) -> Iterator[RemoteFile]:
        for count, info in enumerate(self._tar):
            if count == _MOST:
                raise _crowded(self._shown)
            name = info.name.removeprefix("./")
            if info.isdir() or not name.startswith(below):
                continue
            if not info.isreg() or info.sparse is not None:
                raise _unsafe(info.name, self._shown)
            self._found[name] = info
            yield RemoteFile(path=name, size=info.size)

    def open(self, name: str) -> IO[bytes]:
        found = self._tar.extractfile(self._found[name])
        if found is None:
            raise _unsafe(name, self._shown)
        return found


class _Zip:
    def __init__(self, zipped: zipfile.ZipFile, shown: str) -> None:
        self._zip, self._shown = zipped, shown

    def members(self, below: str | tuple[str, ...]) -> Iterator[RemoteFile]:
        if len(self._zip.infolist()) > _MOST:
            raise _crowded(self._shown)
        for info in self._zip.infolist():
            if info.is_dir() or not info.filename.startswith(below):
                continue
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):  # 0: packed where files have no mode
                raise _unsafe(info.filename, self._shown)
            yield RemoteFile(path=info.filename, size=info.file_size)

    def open(self, name: str) -> IO[bytes]:
        info = self._zip.getinfo(name)
        if not 0 <= info.header_offset < self._zip.start_dir:  # zipfile would seek there
            raise zipfile.BadZipFile
        return self._zip.open(info)


class _Bounded:
    """A file from which nobody reads more at once than a header can need."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _AT_ONCE:
            raise tarfile.ReadError
        return self._file.read(size)


def _crowded(shown: str) -> DataError:
    return DataError("InvalidSource", f"{shown} has more than {_MOST:,} entries. Pack the model's files alone.")


def _unsafe(name: str, shown: str) -> DataError:
    return DataError(
        "UnsafeFile",
        f"{name[:200]!r} in {shown} is a link, a device or a sparse file. Pack plain files and folders alone.",
    )
