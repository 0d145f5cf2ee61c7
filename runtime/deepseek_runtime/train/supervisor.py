"""Starts the processes that train, passes on what they show, and makes one outcome or one error of how they end."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from deepseek_runtime.job import errors
from deepseek_runtime.job.container import available, oom_kills
from deepseek_runtime.job.errors import ConfigurationError, DataError, JobError
from deepseek_runtime.job.failures import OutOfMemoryError
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.train.exchange import Death, Exchange, Failure, Outcome
from deepseek_runtime.wire.job import TrainJob
from deepseek_runtime.wire.result import Artifact

POLL_SECONDS = 0.25
STOP_SECONDS = 105.0
"""From SIGTERM until processes that have not ended are killed: within the 120 s that a training pod is given."""


def supervise(job: TrainJob, export: Path, reporter: Reporter) -> tuple[Outcome, Artifact]:
    """Run the stage's processes until all steps are done and the model lies in `export`.

    After SIGTERM or SIGINT, errors.InterruptedError once they have written a checkpoint. Otherwise the error of
    the process that failed first, as the JobError that it would have been here.
    """
    with tempfile.TemporaryDirectory(prefix="train-") as directory, _told_to_stop() as stop:
        exchange = Exchange(Path(directory))
        exchange.assign(job, export)
        kills = oom_kills()
        command = [sys.executable, "-m", "deepseek_runtime.train.group", directory, str(job.processes)]
        group = subprocess.Popen(command, env=_environment(job.processes), start_new_session=True)
        try:
            _watch(group, exchange, reporter, stop)
        finally:
            _kill(group)
        outcome, artifact = exchange.outcome(), exchange.artifact()
        if outcome and artifact:
            return outcome, artifact
        if failure := exchange.failure():
            raise _error(failure)
        if outcome:
            raise errors.InterruptedError(
                "Interrupted", f"Told to stop; the checkpoint of step {outcome.steps} is written."
            )
        if stop.is_set():
            last = exchange.status()
            kept = f"step {last.checkpoint_step}" if last and last.checkpoint_step else "none of this pod"
            raise errors.InterruptedError(
                "Interrupted", f"Told to stop; a step took too long, the newest checkpoint is {kept}."
            )
        raise _death(exchange.death(), group.returncode, oom_kills() > kills)


def _watch(group: subprocess.Popen[bytes], exchange: Exchange, reporter: Reporter, stop: threading.Event) -> None:
    """Forward figures until the group ends or has had its time to."""
    deadline = None
    while group.poll() is None:
        if stop.is_set():
            if deadline is None:
                exchange.stop()
                deadline = time.monotonic() + STOP_SECONDS
            if time.monotonic() > deadline:
                return
        if status := exchange.status():
            reporter.update(**asdict(status))
        time.sleep(POLL_SECONDS)


def _kill(group: subprocess.Popen[bytes]) -> None:
    """End the agent if it is still there; its processes die with it."""
    group.kill()
    group.wait()


def _environment(processes: int) -> dict[str, str]:
    """That of this process, with as many threads as there are CPUs for each, and every socket on the loopback.

    Waiting threads sleep: others use the cores too, and a spinning thread takes them from the one that it waits for.
    """
    threads = str(max(1, available() // processes))
    ours = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo", "TOKENIZERS_PARALLELISM": "true"}
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


def _death(death: Death | None, agent_code: int, out_of_memory: bool) -> JobError:
    if out_of_memory:
        return OutOfMemoryError(
            "OutOfMemory", "The kernel killed a training process for want of memory. Raise resources.limits.memory."
        )
    if death is None:
        return JobError("TrainingFailed", f"torchrun's agent ended with code {agent_code}. The log says more.")
    how = signal.Signals(-death.exit_code).name if death.exit_code < 0 else f"exit code {death.exit_code}"
    return JobError("TrainingFailed", f"Training process {death.rank} ended with {how}. The log says more.")
