"""The copies on one node's cache: where they lie, who holds them, and which of them make room for another.

`<cache>/<digest>/` is laid out like an artifact volume: `artifact/` counts once `result.json` is beside it. Its
directory is locked (flock) by whoever needs it: shared by pods that keep or read a whole copy, exclusively by the one
that makes it. The kernel lets go when a process dies, however it dies. `<cache>/.lock` is held for the moments in which
room is made, so that what several pods need on one node is counted once.
"""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deepseek_runtime.job.errors import ConfigurationError, JobError
from deepseek_runtime.job.space import SPARE
from deepseek_runtime.nodecache.held import KEEPER_FILE, Held
from deepseek_runtime.weights import manifest, seal
from deepseek_runtime.wire.manifest import Manifest
from deepseek_runtime.wire.paths import ARTIFACT, MANIFEST_FILE, RESULT_FILE

LOCK_FILE = ".lock"
_EVICTED = ".evicted-"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_AGAIN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy, whole or in the making. `held`: by a process that lives. `last_kept`: seconds since the epoch."""

    digest: str
    on_disk: int
    reserved: int = 0
    """What its maker is going to need; 0 once it is whole, or has no maker."""
    held: bool = False
    last_kept: float = 0.0
    keeper: str = ""

    @property
    def size(self) -> int:
        """Bytes that it counts for."""
        return max(self.on_disk, self.reserved)


def evictions(copies: Sequence[Copy], missing: int) -> tuple[Copy, ...] | None:
    """The copies to remove so that `missing` bytes more are free: unheld ones, the longest unused first.

    None where all of them would not do: then nothing is worth removing.
    """
    chosen: list[Copy] = []
    for copy in sorted((copy for copy in copies if not copy.held), key=lambda copy: (copy.last_kept, copy.digest)):
        if missing <= 0:
            break
        chosen.append(copy)
        missing -= copy.on_disk
    return tuple(chosen) if missing <= 0 else None


class Copies:
    """The cache of one node. `capacity`: bytes that all copies together may take."""

    def __init__(self, directory: Path, capacity: int) -> None:
        self.directory = directory
        self._capacity = capacity

    def claim(self, promised: Manifest, keeper: str) -> Held:
        """The copy of what a manifest promises, held: shared if it is whole, else exclusively, to be made.

        Waits while another process makes it. Errors: ConfigurationError `CacheFull`.
        """
        place = self.directory / promised.digest
        while True:
            with self._alone():
                place.mkdir(exist_ok=True)
                if (held := Held.take(place, fcntl.LOCK_EX)) is not None:
                    return self._begin(held, promised, keeper)
                held = Held.take(place, fcntl.LOCK_SH)
            if held is not None and held.whole:
                return held
            if held is None:
                _wait_for_maker(place)
                continue
            held.release()
            time.sleep(_AGAIN_SECONDS)  # an engine is looking at it

    def keep(self, held: Held) -> None:
        """What was made is whole: others may hold it, too."""
        with self._alone():
            held.become(fcntl.LOCK_SH)

    def discard(self, held: Held) -> None:
        """Remove a whole copy that is damaged. JobError `CacheBusy` while somebody else holds it."""
        with self._alone():
            if not held.become(fcntl.LOCK_EX):
                raise JobError(
                    "CacheBusy", f"{held.place} is damaged, and another pod holds it still. It is made anew afterwards."
                )
            self._remove(held)

    def _begin(self, held: Held, promised: Manifest, keeper: str) -> Held:
        held.touch(keeper)
        if held.whole:
            held.become(fcntl.LOCK_SH)
            return held
        directory = seal.resume(held.place, promised.digest)
        there = _bytes(directory)
        try:
            self._make_room(promised, there)
        except BaseException:
            if there:
                held.release()
            else:
                self._remove(held)
            raise
        (directory / MANIFEST_FILE).write_text(promised.to_json() + "\n", "utf-8")
        return held

    def _make_room(self, promised: Manifest, there: int) -> None:
        for path in self.directory.glob(f"{_EVICTED}*"):
            shutil.rmtree(path)
        while True:
            others = [copy for copy in self._copies() if copy.digest != promised.digest]
            free = shutil.disk_usage(self.directory).free - SPARE - sum(copy.size - copy.on_disk for copy in others)
            room = min(self._capacity - sum(copy.size for copy in others), free + there)
            if promised.size <= room:
                return
            chosen = evictions(others, promised.size - room)
            if chosen is None:
                raise ConfigurationError("CacheFull", self._full(promised.size, max(0, room), others))
            for copy in chosen:  # one that an engine has begun to read meanwhile stays, and is looked at again
                if (held := Held.take(self.directory / copy.digest, fcntl.LOCK_EX)) is not None:
                    self._remove(held)

    def _full(self, needed: int, room: int, others: Sequence[Copy]) -> str:
        kept = ", ".join(f"{copy.keeper} ({copy.size:,})" for copy in others if copy.held)
        return (
            f"The cache of this node has no room for a copy of {needed:,} bytes: {room:,} are left of its "
            f"{self._capacity:,}, on a disk with {shutil.disk_usage(self.directory).free:,} free; "
            f"{f'kept are {kept}' if kept else 'nothing is kept there'}. Raise cache.capacity (and the disk), or cache "
            "fewer artifacts; it is tried again within five minutes."
        )

    def _copies(self) -> list[Copy]:
        found = []
        for place in self.directory.iterdir():
            if _DIGEST.fullmatch(place.name) is None:
                continue
            unheld = Held.take(place, fcntl.LOCK_EX)
            held = unheld is None
            if unheld is not None:
                unheld.release()
            found.append(_look(place, held=held))
        return found

    def _remove(self, held: Held) -> None:
        """Under another name first, so that nobody finds half of it."""
        evicted = self.directory / f"{_EVICTED}{held.place.name}"
        held.place.rename(evicted)
        shutil.rmtree(evicted)
        held.release()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            file = (self.directory / LOCK_FILE).open("a")
        except PermissionError as error:
            raise ConfigurationError(
                "CacheUnwritable",
                f"User {os.geteuid()} may not write to the cache at {self.directory}. Give its directory on every node "
                f"the group {os.getegid()} and the mode 2770.",
            ) from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _wait_for_maker(place: Path) -> None:
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _look(place: Path, *, held: bool) -> Copy:
    try:
        keeper, last = (place / KEEPER_FILE).read_text("utf-8"), (place / KEEPER_FILE).stat().st_mtime
    except FileNotFoundError:  # it was killed as it began
        keeper, last = "nobody", 0.0
    making = held and not (place / RESULT_FILE).exists()
    return Copy(
        place.name,
        on_disk=_bytes(place),
        reserved=_promised(place) if making else 0,
        held=held,
        last_kept=last,
        keeper=keeper,
    )


def _promised(place: Path) -> int:
    """Bytes of a copy in the making; its manifest is the first that is written."""
    directory = next(place.glob(f"{seal.PREFIX}*"), place / ARTIFACT)
    try:
        return manifest.read(directory).size
    except JobError:
        return 0


def _bytes(place: Path) -> int:
    """Of all files below, as far as they are still there."""
    total = 0
    for parent, _, files in os.walk(place):
        for name in files:
            try:
                total += (Path(parent) / name).lstat().st_size
            except FileNotFoundError:
                continue
    return total
