"""The directory through which the supervisor and its processes talk: small files, each replaced as a whole."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from deepseek_runtime.wire.exit_codes import ExitCode
from deepseek_runtime.wire.job import TrainJob
from deepseek_runtime.wire.progress import Examples
from deepseek_runtime.wire.result import Artifact

CONTACT_LOST = "ContactLost"
"""The reason of a process that failed because another one was gone."""


@dataclass(frozen=True)
class Assignment:
    """What the processes must know: the Job, which pod this is, where the trained model goes, and who waits for it."""

    job: TrainJob
    index: int
    export: Path
    supervisor: int


@dataclass(frozen=True)
class Status:
    """What the first process of a pod is doing; the words of `job.reporter.Reporter.update`."""

    phase: str
    unit: str = "step"
    done: int = 0
    total: int = 0
    tokens_per_second: float | None = None
    loss: float | None = None
    learning_rate: float | None = None
    checkpoint_step: int | None = None
    examples: Examples | None = None


@dataclass(frozen=True)
class Outcome:
    """How training ended: whether all steps are done, and the facts of `wire.result.Training`."""

    finished: bool
    steps: int
    tokens: int
    loss: float
    seconds: float
    resumed_from_step: int
    examples: Examples | None = None


_STATUS, _OUTCOME = TypeAdapter(Status), TypeAdapter(Outcome)


@dataclass(frozen=True)
class Failure:
    """Why a process ended itself. `code` is an ExitCode."""

    time: float
    rank: int
    code: int
    reason: str
    message: str


@dataclass(frozen=True)
class Death:
    """How the process to fail first ended, as torchrun saw it. A negative `exit_code` is a signal's number."""

    rank: int
    exit_code: int


@dataclass(frozen=True)
class Exchange:
    """One run's directory."""

    directory: Path

    def assign(self, job: TrainJob, index: int, export: Path) -> None:
        """Tell the processes, before they start."""
        told = {"job": job.to_json(), "index": index, "export": str(export), "supervisor": os.getpid()}
        self._write("assignment", told)

    def assignment(self) -> Assignment:
        """What the processes were told."""
        found = json.loads((self.directory / "assignment.json").read_text())
        job = TrainJob.model_validate_json(found["job"])
        return Assignment(job, found["index"], Path(found["export"]), found["supervisor"])

    def stop(self) -> None:
        """Ask the processes to write a checkpoint after the step at hand, and to end."""
        (self.directory / "stop").touch()

    def stopping(self, supervisor: int) -> bool:
        """Whether to end: asked to, or the supervisor was killed and nobody would take the result."""
        return (self.directory / "stop").exists() or not _alive(supervisor)

    def show(self, status: Status) -> None:
        """Replace what is shown."""
        self._write("status", _STATUS.dump_python(status, mode="json"))

    def status(self) -> Status | None:
        """What was shown last."""
        return _STATUS.validate_python(found) if (found := self._read("status")) else None

    def end(self, outcome: Outcome) -> None:
        """Say how it ended."""
        self._write("outcome", _OUTCOME.dump_python(outcome, mode="json"))

    def outcome(self) -> Outcome | None:
        """How it ended, if it did by itself."""
        return _OUTCOME.validate_python(found) if (found := self._read("outcome")) else None

    def deliver(self, artifact: Artifact) -> None:
        """Say what was exported, all of it written."""
        self._write("artifact", json.loads(artifact.to_json()))

    def artifact(self) -> Artifact | None:
        """What was exported."""
        return Artifact.model_validate(found) if (found := self._read("artifact")) else None

    def fail(self, failure: Failure) -> None:
        """Say why this process cannot go on."""
        self._write(f"failure-{failure.rank}", asdict(failure))

    def failure(self) -> Failure | None:
        """The first failure: the others follow from it. An unexpected one says less than one that was foreseen."""
        found = [Failure(**json.loads(path.read_text())) for path in self.directory.glob("failure-*.json")]

        def last(one: Failure) -> tuple[bool, bool, float]:
            return one.reason == CONTACT_LOST, one.code == ExitCode.INTERNAL, one.time

        return min(found, key=last, default=None)

    def bury(self, death: Death) -> None:
        """Record how a process ended."""
        self._write("death", asdict(death))

    def death(self) -> Death | None:
        """How the first process that failed ended."""
        return Death(**found) if (found := self._read("death")) else None

    def _write(self, name: str, value: dict[str, Any]) -> None:
        partial = self.directory / f"{name}.{os.getpid()}.partial"
        partial.write_text(json.dumps(value))
        partial.rename(self.directory / f"{name}.json")

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self.directory / f"{name}.json"
        found: dict[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
        return found


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
