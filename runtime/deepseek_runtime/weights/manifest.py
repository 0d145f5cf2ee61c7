"""The manifest of a model's directory: written when it is made, checked before it is used."""

import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from deepseek_runtime.job.errors import DataError
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.wire.manifest import Manifest, ManifestFile
from deepseek_runtime.wire.paths import MANIFEST_FILE

CHUNK = 1 << 20
THREADS = min(8, os.cpu_count() or 1)
REPORT_SECONDS = 0.5
REMEDY = "Restore it from an intact copy, or delete the volume's claim to have it made again."


def write(directory: Path, reporter: Reporter | None = None) -> Manifest:
    """Hash every file below `directory` and write `manifest.json` there, which does not list itself."""
    sizes = {path: size for path, size in walk(directory).items() if path != MANIFEST_FILE}
    return record(directory, _hash_all(directory, sizes, reporter))


def record(directory: Path, hashes: Mapping[str, str]) -> Manifest:
    """Write `manifest.json` from the SHA-256 of each file below `directory`, as they were taken when it was written."""
    sizes = {path: size for path, size in walk(directory).items() if path != MANIFEST_FILE}
    manifest = Manifest(
        files=tuple(ManifestFile(path=path, size=sizes[path], sha256=hashes[path]) for path in sorted(sizes))
    )
    (directory / MANIFEST_FILE).write_text(manifest.to_json() + "\n", "utf-8")
    return manifest


def read(directory: Path) -> Manifest:
    """The manifest of a directory, its paths checked; DataError `MissingManifest` or `BadManifest`."""
    path = directory / MANIFEST_FILE
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(
            "MissingManifest", f"{path} cannot be read ({error.strerror}): {directory} is no sealed model."
        ) from error
    except ValidationError as error:
        raise DataError("BadManifest", f"{path} is not a manifest. {REMEDY}") from error
    seen: set[str] = set()
    for file in manifest.files:
        if file.path in seen or not _beneath(file.path):
            raise DataError("BadManifest", f"{path} lists {file.path!r}, which is twice there or outside. {REMEDY}")
        seen.add(file.path)
    return manifest


def verify(directory: Path, digest: str, reporter: Reporter | None = None, *, unread: Collection[str] = ()) -> Manifest:
    """The manifest, after the directory has proven to hold exactly its files and the manifest to have this digest.

    Of the files `unread`, which somebody else verifies, only names and sizes are looked at.

    Errors: DataError `DigestMismatch` naming the file with what was expected and found, `MissingFile`, `ExtraFile`,
    `UnsafeFile` for links and devices.
    """
    manifest = compare(directory, digest)
    expected = {file.path: file.sha256 for file in manifest.files}
    sizes = {file.path: file.size for file in manifest.files if file.path not in unread}
    for path, sha256 in _hash_all(directory, sizes, reporter).items():
        if sha256 != expected[path]:
            raise mismatch(directory / path, "SHA-256", expected[path], sha256)
    return manifest


def compare(directory: Path, digest: str) -> Manifest:
    """As `verify`, but for the content of the files: names and sizes alone."""
    manifest = read(directory)
    if manifest.digest != digest:
        raise mismatch(directory / MANIFEST_FILE, "digest", digest, manifest.digest)
    expected = {file.path: file for file in manifest.files}
    found = {path: size for path, size in walk(directory).items() if path != MANIFEST_FILE}
    for path in sorted(expected.keys() - found.keys()):
        raise DataError("MissingFile", f"{directory / path} is in the manifest and not on the volume. {REMEDY}")
    for path in sorted(found.keys() - expected.keys()):
        raise DataError("ExtraFile", f"{directory / path} is on the volume and not in the manifest. Remove it.")
    for path, size in found.items():
        if size != expected[path].size:
            raise mismatch(directory / path, "size", f"{expected[path].size} bytes", f"{size} bytes")
    return manifest


def mismatch(path: Path, what: str, expected: str, found: str) -> DataError:
    """The error for a file that is not what its manifest promises."""
    return DataError("DigestMismatch", f"{path}: {what} is {found}, expected {expected}. {REMEDY}")


def _beneath(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and parts[0] != "/" and ".." not in parts and str(PurePosixPath(path)) == path != MANIFEST_FILE


def walk(directory: Path) -> dict[str, int]:
    """Size of every file by its path relative to the directory; DataError `UnsafeFile` for anything but plain files."""
    return dict(sorted(_entries(directory, "")))


def _entries(directory: Path, prefix: str) -> Iterator[tuple[str, int]]:
    with os.scandir(directory) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                yield from _entries(Path(entry.path), f"{prefix}{entry.name}/")
            elif stat.S_ISREG(status.st_mode):
                yield f"{prefix}{entry.name}", status.st_size
            else:
                raise DataError("UnsafeFile", f"{entry.path} is a link or a device, not a plain file. Remove it.")


def _hash_all(directory: Path, sizes: dict[str, int], reporter: Reporter | None) -> dict[str, str]:
    """SHA-256 of every file, several at a time: hashlib lets other threads run."""
    done = dict.fromkeys(sizes, 0)  # each thread counts in an entry of its own

    def sha256(path: str) -> str:
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(CHUNK))
        with (directory / path).open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
                done[path] += count
        return digest.hexdigest()

    largest_first = sorted(sizes, key=lambda path: -sizes[path])
    with ThreadPoolExecutor(THREADS) as pool:
        futures = {path: pool.submit(sha256, path) for path in largest_first}
        pending = set(futures.values())
        while pending:
            _, pending = wait(pending, timeout=REPORT_SECONDS, return_when=FIRST_EXCEPTION)
            if reporter:
                reporter.update("hashing files", unit="bytes", done=sum(done.values()), total=sum(sizes.values()))
        return {path: futures[path].result() for path in sizes}
