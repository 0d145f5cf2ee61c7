"""A model that comes in archives: found in them, unpacked beside them, and the archives removed."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from deepseek_runtime.fetch import archive
from deepseek_runtime.fetch.http_files import ARCHIVE
from deepseek_runtime.fetch.selection import Selection, select
from deepseek_runtime.fetch.source import RemoteFile, Source
from deepseek_runtime.weights.safety import CONFIG

LOG = logging.getLogger(__name__)


def unpack(
    source: Source, archives: Sequence[RemoteFile], root: Path, demand: Callable[[int], None]
) -> tuple[Selection, dict[str, str]]:
    """What is needed of the folder with the model, and the SHA-256 of each file. `demand` is told how large it is.

    Where several archives have the same file the last one counts, as in layers of an image. Errors: those of
    `archive.members`, of `select`, of `demand`.
    """
    found: dict[str, tuple[RemoteFile, RemoteFile]] = {}
    for packed in archives:
        for member in archive.members(root / packed.path, _shown(source, packed)):
            found[member.path] = packed, member
    home = _home(found)
    inside = [
        member.model_copy(update={"path": path.removeprefix(home)})
        for path, (_, member) in found.items()
        if path.startswith(home)
    ]
    selection = select(inside, (), (), source.where)
    demand(sum(file.size for file in selection.files))
    hashes: dict[str, str] = {}
    for packed in archives:
        wanted = {
            f"{home}{file.path}": file.path for file in selection.files if found[f"{home}{file.path}"][0] is packed
        }
        LOG.info("unpacking: archive=%s files=%d", packed.path, len(wanted))
        hashes |= archive.unpack(root / packed.path, _shown(source, packed), root, wanted)
    for packed in archives:
        (root / packed.path).unlink()
    return selection, hashes


def _home(paths: dict[str, tuple[RemoteFile, RemoteFile]]) -> str:
    """The folder that is nearest to the root and has a config.json, with its slash; empty: the root."""
    homes = [PurePosixPath(path).parent for path in paths if PurePosixPath(path).name == CONFIG]
    home = min(homes, key=lambda folder: (len(folder.parts), folder), default=PurePosixPath())
    return "" if home == PurePosixPath() else f"{home}/"


def _shown(source: Source, packed: RemoteFile) -> str:
    return f"the archive {source.name}" if packed.path == ARCHIVE else f"layer {packed.sha256} of {source.name}"
