"""A model that comes in archives: found in them, unpacked beside them, and the archives removed."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from deepseek_runtime.fetch import archive
from deepseek_runtime.fetch.selection import Selection, select
from deepseek_runtime.fetch.source import RemoteFile, Source
from deepseek_runtime.weights import manifest
from deepseek_runtime.weights.safety import CONFIG

LOG = logging.getLogger(__name__)

_REMOVED, _EMPTIED = ".wh.", ".wh..wh..opq"
"""How a layer says that a file of the layers below is gone, or all of a folder (the OCI image specification)."""


def unpack(
    source: Source, fetched: Mapping[str, str], files: Sequence[RemoteFile], root: Path, demand: Callable[[int], None]
) -> tuple[Selection, dict[str, str]]:
    """What is needed of the folder with the model, and the SHA-256 of each file.

    `fetched`: the SHA-256 of each of `files`, archives and others, which lie in `root`. `demand` is told how large the
    model is. Where several have the same file the last one counts, as in layers of an image. Errors: those of
    `archive.members`, of `select`, of `demand`.
    """
    for path in manifest.walk(root).keys() - {file.path for file in files}:
        (root / path).unlink()  # of an attempt that was killed after it had unpacked them
    found = _found(source, files, root)
    home = home_of(map(PurePosixPath, found))
    inside = [
        member.model_copy(update={"path": path.removeprefix(home)})
        for path, (_, member) in found.items()
        if path.startswith(home)
    ]
    selection = select(inside, (), (), source.where)
    demand(sum(file.size for file in selection.files))
    targets = {f"{home}{file.path}": file.path for file in selection.files}
    hashes: dict[str, str] = {}
    for file in files:
        wanted = {path: target for path, target in targets.items() if found[path][0] is file}
        if file.packed:
            LOG.info("unpacking: archive=%s files=%d", file.path, len(wanted))
            hashes |= archive.unpack(root / file.path, _shown(source, file), root, wanted)
        elif target := wanted.get(file.path):
            (root / file.path).rename(root / target)
            hashes[target] = fetched[file.path]
    for file in files:
        if file.path not in hashes:
            (root / file.path).unlink(missing_ok=True)
    return selection, hashes


def home_of(paths: Iterable[PurePosixPath]) -> str:
    """The folder that is nearest to the root and has a config.json, with its slash; empty: the root."""
    homes = [path.parent for path in paths if path.name == CONFIG]
    home = min(homes, key=lambda folder: (len(folder.parts), folder), default=PurePosixPath())
    return "" if home == PurePosixPath() else f"{home}/"


def _found(source: Source, files: Sequence[RemoteFile], root: Path) -> dict[str, tuple[RemoteFile, RemoteFile]]:
    """By path: which file has it, and how large it is."""
    found: dict[str, tuple[RemoteFile, RemoteFile]] = {}
    for file in files:
        if not file.packed:
            found[file.path] = file, file
            continue
        members = archive.members(root / file.path, _shown(source, file), file.below)
        marks = [PurePosixPath(member.path) for member in members if _mark(member)]
        for mark in marks:
            gone = str(mark.parent / mark.name.removeprefix(_REMOVED)) if mark.name != _EMPTIED else str(mark.parent)
            found = {path: entry for path, entry in found.items() if path != gone and not path.startswith(f"{gone}/")}
        found |= {member.path: (file, member) for member in members if not _mark(member)}
    return found


def _mark(member: RemoteFile) -> bool:
    return PurePosixPath(member.path).name.startswith(_REMOVED)


def _shown(source: Source, packed: RemoteFile) -> str:
    return f"{packed.path} of {source.name}"
