"""The other ranks of a tensor-parallel engine, as rank 0 sees them: processes of the same pod that replay its plans.

Plans go through pipes, so an idle engine can wait for ever; only the sums inside a forward pass are collectives. A rank
lives no longer than rank 0, and the end of any rank is rank 0's end. Light to import: the ranks load torch while rank 0
does.
"""

import logging
import multiprocessing as mp
import pickle
import signal
import tempfile
import threading
import time
from concurrent.futures import Future
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from deepseek_runtime.job import container
from deepseek_runtime.job.errors import JobError
from deepseek_runtime.job.failures import OutOfMemoryError
from deepseek_runtime.serve.plan import Plan
from deepseek_runtime.wire.exit_codes import ExitCode
from deepseek_runtime.wire.serve import ServeConfig

LOG = logging.getLogger(__name__)

SETTLE_SECONDS = 0.3
"""When one rank dies, others fail with it: how long to wait before asking which was the first cause."""

STOP_SECONDS = 3.0


class RankError(JobError):
    """Another rank failed; it carries that rank's exit code."""

    def __init__(self, reason: str, message: str, code: ExitCode) -> None:
        super().__init__(reason, message)
        self.code = code


class Team:
    """Ranks 1 and up. `failed` gets an exception when one of them ends unasked, and is never done otherwise."""

    def __init__(self, config: ServeConfig) -> None:
        self._config = config
        self._world = config.tensor_parallel
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._stopping = threading.Event()
        self._oom_kills = container.oom_kills()
        self.failed: Future[None] = Future()

    def start(self) -> None:
        """Start the other processes; they read no weights before `admit`."""
        if self._world == 1:
            return
        self._directory = tempfile.TemporaryDirectory(prefix="ranks-")
        context = mp.get_context("spawn")  # torch's threads do not survive a fork
        for rank in range(1, self._world):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_rank, args=(rank, self._config.to_json(), theirs), name=f"rank-{rank}", daemon=True
            )
            process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(ours)
        threading.Thread(target=self._watch, name="watch-ranks", daemon=True).start()

    def admit(self, weights: Path) -> Path | None:
        """Let the ranks read verified weights; returns the file to meet at, None without ranks."""
        if self._directory is None:
            return None
        rendezvous = Path(self._directory.name) / "rendezvous"
        self._broadcast((str(weights), str(rendezvous)))
        return rendezvous

    def send(self, plan: Plan) -> None:
        """Have all ranks compute a plan."""
        self._broadcast(plan)

    def stop(self) -> None:
        """End the other processes; no plan may be under way."""
        self._stopping.set()
        try:
            self._broadcast(None)
        except OSError:
            LOG.warning("a rank was gone before it was told to stop")
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._processes:
            process.join(max(0.0, deadline - time.monotonic()))
            process.kill()
            process.join()
        if self._directory is not None:
            self._directory.cleanup()

    def _broadcast(self, message: Plan | tuple[str, str] | None) -> None:
        if self._pipes:
            payload = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
            for pipe in self._pipes:
                pipe.send_bytes(payload)

    def _watch(self) -> None:
        wait([process.sentinel for process in self._processes])
        if self._stopping.is_set():
            return
        time.sleep(SETTLE_SECONDS)
        self.failed.set_exception(self._cause())

    def _cause(self) -> JobError:
        """What ended the first rank: a signal before an error, as errors follow when a rank is gone."""
        for rank, process in enumerate(self._processes, start=1):
            if process.exitcode is not None and process.exitcode < 0:
                return self._killed(rank, -process.exitcode)
        for rank, pipe in enumerate(self._pipes, start=1):
            try:
                if pipe.poll():
                    reason, message, code = pipe.recv()
                    return RankError(reason, f"Rank {rank} of {self._world}: {message}", ExitCode(code))
            except (EOFError, OSError):
                continue
        return RankError("Crashed", "A rank ended without a word. The log may have more.", ExitCode.INTERNAL)

    def _killed(self, rank: int, number: int) -> JobError:
        message = f"Rank {rank} of {self._world} was killed by {signal.Signals(number).name}"
        if container.oom_kills() > self._oom_kills:
            return OutOfMemoryError("OutOfMemory", f"{message} for want of memory. Raise resources.limits.memory.")
        return RankError("Crashed", f"{message}. The engine starts again.", ExitCode.INTERNAL)


def _rank(rank: int, config_json: str, pipe: Connection) -> None:
    from deepseek_runtime.serve.rank import follow  # loads torch

    follow(rank, ServeConfig.model_validate_json(config_json), pipe)
