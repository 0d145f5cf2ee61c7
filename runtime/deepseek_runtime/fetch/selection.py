"""Which files of a repository are fetched: what the runtime reads, and nothing that could run."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from deepseek_runtime.fetch.source import RemoteFile
from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.weights.safety import CONFIG, INDEX, PICKLES, SINGLE
from deepseek_runtime.wire.paths import MANIFEST_FILE

NEEDED = ("*.safetensors", "*.json", "tokenizer.model", "*.tiktoken", "merges.txt", "vocab.txt", "*.jinja", "*.sig")
"""Patterns of what is fetched where `include` is absent, for files that lie in no folder.

Signatures are, whether one is asked for or not: it may be later.
"""

CODE = frozenset(
    {".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".exe", ".sh", ".bat", ".ps1", ".js", ".jar", ".wasm"}
)
_LONGEST_NAME, _LONGEST_PATH = 255, 1024


@dataclass(frozen=True, slots=True)
class Selection:
    """What is fetched, the small files that tell about the model first; and the paths that are not."""

    files: tuple[RemoteFile, ...]
    left_out: tuple[str, ...]


def select(
    files: Sequence[RemoteFile], include: Sequence[str], exclude: Sequence[str], where: str = "source.huggingFace"
) -> Selection:
    """The files to fetch. `where` names the source in messages.

    Errors: ConfigurationError `UnsafeModel` for a pickle or code that `include` asks for, `UnsafeName`; DataError
    `MissingFile` where there are no safetensors or no config.json.
    """
    chosen = [file for file in files if wanted(file.path, include, exclude)]
    check_names(chosen, where)
    for file in chosen:
        suffix = PurePosixPath(file.path).suffix.lower()
        if suffix in PICKLES | CODE:
            raise ConfigurationError(
                "UnsafeModel",
                f"{where} asks for {file.path}, which can run code. Leave {'*' + suffix} out: weights are read from "
                "safetensors alone.",
            )
    names = {file.path for file in chosen}
    pickles = [file.path for file in files if PurePosixPath(file.path).suffix.lower() in PICKLES]
    if SINGLE not in names and INDEX not in names:
        instead = f" It has {', '.join(pickles[:3])}, which can run code when read." if pickles else ""
        raise DataError(
            "MissingFile",
            f"Neither {SINGLE} nor {INDEX} is among the files that {where} selects.{instead} Name a "
            "model in safetensors, or correct what the source selects.",
        )
    if CONFIG not in names:
        raise DataError("MissingFile", f"{CONFIG} is not among the files that {where} selects.")
    order = sorted(chosen, key=lambda file: (file.path.endswith(".safetensors"), file.path))
    return Selection(tuple(order), tuple(file.path for file in files if file.path not in names))


def trim(selection: Selection, shards: frozenset[str]) -> Selection:
    """Without the weight files that the index does not name: some repositories hold the same weights twice.

    Errors: DataError `MissingFile` where the index names one that is not there.
    """
    if missing := sorted(shards - {file.path for file in selection.files}):
        raise DataError(
            "MissingFile",
            f"{INDEX} names {', '.join(missing[:3])[:300]}, which the source does not have. Complete it there.",
        )
    kept, left = [], list(selection.left_out)
    for file in selection.files:
        if file.path.endswith(".safetensors") and file.path not in shards:
            left.append(file.path)
        else:
            kept.append(file)
    return Selection(tuple(kept), tuple(sorted(left)))


def wanted(path: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether a source's patterns select a path; without `include` what the runtime reads is selected."""
    if _matches(path, exclude):
        return False
    if include:
        return _matches(path, include)
    return "/" not in path and _matches(path, NEEDED) and path != MANIFEST_FILE


def name_problem(path: str) -> str | None:
    """Why a path of a stranger is not written to a volume; None where it is."""
    parts = path.split("/")
    if len(path.encode("utf-8", "surrogatepass")) > _LONGEST_PATH:
        return "is too long"
    if any(part in ("", ".", "..") for part in parts):
        return "leaves its folder"
    if any(len(part.encode("utf-8", "surrogatepass")) > _LONGEST_NAME for part in parts):
        return "has a part that is too long"
    if "\\" in path or any(unicodedata.category(letter).startswith(("C", "Zl", "Zp")) for letter in path):
        return "has characters that no file name should have"
    return "is the manifest's" if path == MANIFEST_FILE else None


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def check_names(files: Sequence[RemoteFile], where: str) -> None:
    """DataError `UnsafeName` naming a path that is not written to a volume."""
    for file in files:
        if (problem := name_problem(file.path)) is not None:
            raise DataError(
                "UnsafeName",
                f"The name {file.path[:200]!r} of a file of {where} {problem}. Rename it, or have it excluded.",
            )
    folders = {folder for file in files for folder in _folders(file.path)}
    for file in files:
        if file.path in folders:
            raise DataError("UnsafeName", f"{file.path!r} is a file and a folder of {where}. Rename one.")


def _folders(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))
