"""What is on the volume for good: the plan of a fetch and a journal of finished chunks, beside the files themselves.

A chunk stands in the journal after its bytes have reached the disk; a killed fetch goes on from there and asks for no
byte of a finished chunk again. The files lie in the place's partial directory, which sealing renames.
"""

import os
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from deepseek_runtime.fetch.source import RemoteFile
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.weights import seal
from deepseek_runtime.wire.base import WireModel

CHUNK = 16 << 20
"""Bytes: the most that a killed pod's connection has to fetch again."""

PREFIX = ".fetch-"
_PLAN, _JOURNAL = "plan.json", "journal"


class Plan(WireModel):
    """What is fetched: it does not change while it is fetched, whatever a branch does meanwhile."""

    version: int = 1
    commit: str
    files: tuple[RemoteFile, ...]
    left_out: tuple[str, ...]
    chunk: int


class Ledger:
    """The journal of one fetch, for one process at a time. Safe to use from threads."""

    def __init__(self, place: Path, identity: str) -> None:
        """Finds what an earlier process left; `plan` is None where there is none."""
        self.files = seal.resume(place, identity)
        self._directory = place / f"{PREFIX}{identity}"
        for other in place.glob(f"{PREFIX}*"):
            if other != self._directory:
                shutil.rmtree(other)
        self._directory.mkdir(exist_ok=True)
        self._lock = threading.Lock()
        self.plan = self._read_plan()
        self.finished: dict[int, set[int]] = {}
        self.hashed: dict[int, str] = {}
        if self.plan is not None:
            self._replay(self.plan)
        self._journal = os.open(self._directory / _JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def begin(self, plan: Plan) -> None:
        """Keep the plan of a new fetch."""
        self._replace(_PLAN, plan.to_json())
        self.plan = plan

    def finish(self, index: int, chunk: int) -> None:
        """A chunk is on the disk: the caller has synced the file."""
        self.finished.setdefault(index, set()).add(chunk)
        self._append(f"{index} {chunk}\n")

    def prove(self, index: int, sha256: str) -> None:
        """A whole file is what its source says it is."""
        self.hashed[index] = sha256
        self._append(f"{index} {sha256}\n")

    def forget(self, index: int) -> None:
        """A file is not what it should be and has to be fetched again."""
        self.finished.pop(index, None)
        self._append(f"{index} -\n")

    def kept(self, files: Iterable[RemoteFile]) -> int:
        """Bytes of these files that are on the disk for good."""
        if self.plan is None:
            return 0
        wanted, chunk = set(files), self.plan.chunk
        return sum(
            min(chunk, file.size - number * chunk)  # the last one may be short
            for index, file in enumerate(self.plan.files)
            if file in wanted
            for number in self.finished.get(index, ())
        )

    def remove(self) -> None:
        """The fetch is sealed: nothing will ask again."""
        shutil.rmtree(self._directory)

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._journal)

    def _append(self, line: str) -> None:
        with self._lock:
            os.write(self._journal, line.encode())
            os.fdatasync(self._journal)

    def _read_plan(self) -> Plan | None:
        try:
            return Plan.model_validate_json((self._directory / _PLAN).read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise DataError(
                "SealBroken", f"{self._directory / _PLAN} is not a plan. Delete the volume's claim to start anew."
            ) from error

    def _replay(self, plan: Plan) -> None:
        """A last line that was cut says nothing; a file that is not there has nothing finished."""
        try:
            text = (self._directory / _JOURNAL).read_text("ascii")
        except FileNotFoundError:
            return
        if text and not text.endswith("\n"):
            text = text[: text.rfind("\n") + 1]
            self._replace(_JOURNAL, text)
        for line in text.splitlines():
            number, _, what = line.partition(" ")
            index = int(number)
            if what == "-":
                self.finished.pop(index, None)
                self.hashed.pop(index, None)
            elif len(what) == 64:
                self.hashed[index] = what
            else:
                self.finished.setdefault(index, set()).add(int(what))
        for index in list(self.finished.keys() | self.hashed.keys()):
            path = self.files / plan.files[index].path
            if not path.is_file() or path.is_symlink() or path.stat().st_size != plan.files[index].size:
                self.finished.pop(index, None)
                self.hashed.pop(index, None)

    def _replace(self, name: str, text: str) -> None:
        temporary = self._directory / f".{name}"
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self._directory / name)
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
