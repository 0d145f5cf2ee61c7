"""Reading text: files, or directories of *.txt (or another pattern) in the order of their names, all UTF-8."""

import codecs
from collections.abc import Iterator, Sequence
from pathlib import Path

from deepseek_runtime.job.errors import DataError

CHUNK = 1 << 20


def files(paths: Sequence[str], pattern: str = "*.txt") -> list[Path]:
    """Every file that the paths mean, of directories those that match the pattern.

    DataError `MissingText` or `EmptyText` names what is wrong.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(entry for entry in path.glob(pattern) if entry.is_file())
            if not inside:
                raise DataError("MissingText", f"{path} has no {pattern} files. Put the text there, or name a file.")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise DataError("MissingText", f"{path} does not exist. Check the path and what the volume holds.")
    if not any(file.stat().st_size for file in found):
        names = ", ".join(map(str, found[:3])) or "no path"
        raise DataError("EmptyText", f"There is no text: {names} is empty. Give it at least one file with text.")
    return found


def read(path: Path) -> str:
    """A whole file; DataError `NotUtf8` names the first byte that is wrong."""
    return "".join(chunks(path))


def chunks(path: Path) -> Iterator[str]:
    """A file in pieces of about a megabyte that end with a line where they can; errors as `read`."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    rest, offset = "", 0
    with path.open("rb") as file:
        while True:
            data = file.read(CHUNK)
            pending = len(decoder.getstate()[0])  # bytes of a character that the last piece cut
            try:
                rest += decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                raise DataError(
                    "NotUtf8", f"{path} is not UTF-8 at byte {offset - pending + error.start}. Convert it to UTF-8."
                ) from error
            offset += len(data)
            end = len(rest) if not data else rest.rfind("\n") + 1
            if end:
                yield rest[:end]
                rest = rest[end:]
            if not data:
                return
