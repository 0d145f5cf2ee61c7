"""Starts the processes that train, passes on what they show, and makes one outcome or one error of how they end."""

import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from deepseek_runtime.job import errors
from deepseek_runtime.job.container import available, oom_kills
from deepseek_runtime.job.errors import ConfigurationError, DataError, JobError
from deepseek_runtime.job.failures import OutOfMemoryError
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.train import rendezvous
from deepseek_runtime.train.exchange import CONTACT_LOST, Death, Exchange, Failure, Outcome
from deepseek_runtime.train.rendezvous import Pods
from deepseek_runtime.wire.job import TrainJob
from deepseek_runtime.wire.result import Artifact

POLL_SECONDS = 0.25
STOP_SECONDS = 105.0
"""From SIGTERM until processes that have not ended are killed: within the 120 s that a training pod is given."""
LOST_SECONDS = 2.0
"""After another pod was lost, until processes that wait for it are killed."""
FRUITLESS_ROUNDS = 3


class Sealed(Exception):  # noqa: N818 no error
    """Another pod has finished the work."""


def supervise(
    job: TrainJob, export: Path, reporter: Reporter, index: int = 0, sealed: Callable[[], bool] = lambda: False
) -> tuple[Outcome, Artifact]:
    """Run this pod's share of the stage's processes until all steps are done and the model lies in `export`.

    When another pod is lost, this one's processes are ended and started again with its successor's. Errors: after
    SIGTERM or SIGINT errors.InterruptedError, once a checkpoint is written; Sealed where `sealed` says so, which only
    pods but the first ask; otherwise the error of the process that failed first, as the JobError that it would have
    been here.
    """
    with _told_to_stop() as stop, closing(rendezvous.join(job, index)) as pods:
        supervisor = _Supervisor(job, export, reporter, index, pods, stop, sealed)
        while True:
            round_ = supervisor.wait_for_the_others()
            if (done := supervisor.work(round_)) is not None:
                return done


@dataclass
class _Supervisor:
    job: TrainJob
    export: Path
    reporter: Reporter
    index: int
    pods: Pods
    stop: threading.Event
    sealed: Callable[[], bool]
    last: str | None = None
    checkpoint: int | None = None
    fruitless: int = 0
    """Rounds since the last step in which contact was lost."""

    def wait_for_the_others(self) -> str:
        """The next round."""
        while True:
            if self.sealed():
                raise Sealed
            if self.stop.is_set():
                raise self._interrupted()
            round_ = self.pods.tick(self.last, working=False)
            if round_ is not None and round_ != self.last:
                return round_
            missing = ", ".join(map(str, self.pods.missing))
            phase = f"waiting for pod {missing}" if missing else "waiting for the other pods"
            self.reporter.update(phase, unit="step", done=self.checkpoint or 0, total=self.job.steps or 0)
            time.sleep(POLL_SECONDS)

    def work(self, round_: str) -> tuple[Outcome, Artifact] | None:
        """Run the processes for one round; None where it ended because another pod was lost."""
        self.last = round_
        with tempfile.TemporaryDirectory(prefix="train-") as directory:
            exchange = Exchange(Path(directory))
            exchange.assign(self.job, self.index, self.export)
            kills = oom_kills()
            command = [sys.executable, "-m", "deepseek_runtime.train.group", directory, str(self.job.processes)]
            group = subprocess.Popen(command, env=_environment(self.job), start_new_session=True)
            try:
                self._watch(group, exchange)
                by_itself = group.poll() is not None
            finally:
                _kill(group)
            killed = oom_kills() > kills
            return self._judge(exchange, group.returncode if by_itself else None, out_of_memory=killed)

    def _judge(
        self, exchange: Exchange, agent_code: int | None, *, out_of_memory: bool
    ) -> tuple[Outcome, Artifact] | None:
        """What became of the round; `agent_code` is that of torchrun's agent where it ended by itself."""
        outcome, artifact = exchange.outcome(), exchange.artifact()
        failure, death = exchange.failure(), exchange.death()
        if outcome and artifact:
            return outcome, artifact
        if failure and failure.reason != CONTACT_LOST:
            raise _error(failure)
        if outcome is None and (out_of_memory or (death is not None and death.exit_code < 0)):
            raise _death(death, agent_code, out_of_memory)
        if self.stop.is_set():
            raise self._interrupted(outcome)
        if failure and (self.job.nodes == 1 or self._gives_up(exchange)):
            raise _error(failure)
        if outcome is None and failure is None and agent_code is not None:
            raise _death(death, agent_code, out_of_memory)
        if self.job.nodes == 1:  # the processes stopped because they were asked to, whoever did
            raise self._interrupted(outcome)
        return None

    def _gives_up(self, exchange: Exchange) -> bool:
        """Whether contact was lost too often without a step between."""
        stepped = (status := exchange.status()) is not None and status.phase == "step"
        self.fruitless = 0 if stepped else self.fruitless + 1
        return self.fruitless >= FRUITLESS_ROUNDS

    def _interrupted(self, outcome: Outcome | None = None) -> errors.InterruptedError:
        if outcome:
            said = f"Told to stop; the checkpoint of step {outcome.steps} is written."
        elif self.checkpoint:
            said = f"Told to stop; the newest checkpoint is step {self.checkpoint}."
        else:
            said = "Told to stop; the newest checkpoint is none of this pod."
        return errors.InterruptedError("Interrupted", said)

    def _watch(self, group: subprocess.Popen[bytes], exchange: Exchange) -> None:
        """Forward figures until the group ends, has had its time to, or another pod was lost."""
        deadline = None
        while True:
            done = group.poll() is not None
            finished = done and (outcome := exchange.outcome()) is not None and outcome.finished
            if done and not (finished and self.index):
                return
            if done and self.sealed():
                raise Sealed
            if self.stop.is_set():
                if done:
                    return
                exchange.stop()
                deadline = deadline or time.monotonic() + STOP_SECONDS
            if self.pods.tick(self.last, working=True) != self.last:
                # A process of our own may be what was lost: torchrun's agent shall have the time to say so.
                deadline = min(deadline or math.inf, time.monotonic() + LOST_SECONDS)
                if done:
                    return
            if deadline and time.monotonic() > deadline:
                return
            if status := exchange.status():
                self.checkpoint = status.checkpoint_step or self.checkpoint
                self.reporter.update(**asdict(status))
            time.sleep(POLL_SECONDS)


def _kill(group: subprocess.Popen[bytes]) -> None:
    """End the agent if it is still there; its processes die with it."""
    group.kill()
    group.wait()


def _environment(job: TrainJob) -> dict[str, str]:
    """That of this process, with as many threads as there are CPUs for each; a lone pod's sockets are on the loopback.

    Waiting threads sleep: others use the cores too, and a spinning thread takes them from the one that it waits for.
    """
    threads = str(max(1, available() // job.processes))
    ours = {"TOKENIZERS_PARALLELISM": "true"}
    if job.nodes == 1:
        ours |= {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
    return {"OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "passive"} | dict(os.environ) | ours


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()

    def note(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    earlier = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _error(failure: Failure) -> JobError:
    kinds: dict[int, type[JobError]] = {kind.code: kind for kind in (ConfigurationError, DataError, OutOfMemoryError)}
    if kind := kinds.get(failure.code):
        return kind(failure.reason, failure.message)
    return JobError(failure.reason, f"In training process {failure.rank}: {failure.message}")


def _death(death: Death | None, agent_code: int | None, out_of_memory: bool) -> JobError:
    if out_of_memory:
        return OutOfMemoryError(
            "OutOfMemory", "The kernel killed a training process for want of memory. Raise resources.limits.memory."
        )
    if death is None:
        return JobError("TrainingFailed", f"torchrun's agent ended with code {agent_code}. The log says more.")
    how = signal.Signals(-death.exit_code).name if death.exit_code < 0 else f"exit code {death.exit_code}"
    return JobError("TrainingFailed", f"Training process {death.rank} ended with {how}. The log says more.")
