"""The other ranks of a tensor-parallel engine: processes of the same pod that replay rank 0's plans.

Plans go through pipes, so an idle engine can wait for ever; only the sums inside a forward pass are collectives. The
ranks meet through a file and talk over the loopback device: nothing listens outside the pod. A rank lives no longer
than rank 0, and the end of any rank is rank 0's end.
"""

import logging
import multiprocessing as mp
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
import torch.distributed as dist

from deepseek_runtime.job.errors import JobError
from deepseek_runtime.job.failures import OutOfMemoryError, explain
from deepseek_runtime.serve import runner as runners
from deepseek_runtime.serve.plan import Plan
from deepseek_runtime.serve.shard import Shard
from deepseek_runtime.train import cpus
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
    """Ranks 1 and up. `failed` is called once, from a thread, when one of them ends unasked."""

    def __init__(self, config: ServeConfig, failed: Callable[[JobError], None]) -> None:
        self._config = config
        self._failed = failed
        self._world = config.tensor_parallel
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._stopping = threading.Event()
        self._oom_kills = cpus.oom_kills()

    def start(self) -> Shard:
        """Start the other processes and meet them; returns rank 0's shard."""
        if self._world == 1:
            return Shard()
        self._directory = tempfile.TemporaryDirectory(prefix="ranks-")
        rendezvous = str(Path(self._directory.name) / "rendezvous")
        context = mp.get_context("spawn")  # torch's threads do not survive a fork
        for rank in range(1, self._world):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=follow, args=(rank, self._config.to_json(), rendezvous, theirs), name=f"rank-{rank}", daemon=True
            )
            process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(ours)
        threading.Thread(target=self._watch, name="watch-ranks", daemon=True).start()
        return meet(0, self._world, rendezvous)

    def send(self, plan: Plan) -> None:
        """Have all ranks compute a plan."""
        if self._pipes:
            payload = pickle.dumps(plan, pickle.HIGHEST_PROTOCOL)
            for pipe in self._pipes:
                pipe.send_bytes(payload)

    def stop(self) -> None:
        """End the other processes; no plan may be under way."""
        self._stopping.set()
        for pipe in self._pipes:
            try:
                pipe.send_bytes(pickle.dumps(None))
            except OSError:
                LOG.warning("a rank was gone before it was told to stop")
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._processes:
            process.join(max(0.0, deadline - time.monotonic()))
            process.kill()
            process.join()
        if dist.is_initialized() and self._processes:
            dist.destroy_process_group()
        if self._directory is not None:
            self._directory.cleanup()

    def _watch(self) -> None:
        wait([process.sentinel for process in self._processes])
        if self._stopping.is_set():
            return
        time.sleep(SETTLE_SECONDS)
        self._failed(self._cause())

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
        name = signal.Signals(number).name
        message = f"Rank {rank} of {self._world} was killed by {name}"
        if cpus.oom_kills() > self._oom_kills:
            return OutOfMemoryError("OutOfMemory", f"{message} for want of memory. Raise resources.limits.memory.")
        return RankError("Crashed", f"{message}. The engine starts again.", ExitCode.INTERNAL)


def meet(rank: int, world: int, rendezvous: str) -> Shard:
    """Join the process group; every rank calls it with the same file."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    device = runners.pick_device(rank, world)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    store = dist.FileStore(rendezvous, world)  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=store, rank=rank, world_size=world)
    return Shard(rank, world)


def follow(rank: int, config_json: str, rendezvous: str, pipe: Connection) -> None:
    """The whole life of a rank other than 0: load, compute what is sent, and tell rank 0 why it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; rank 0 decides
    threading.Thread(target=_die_with_parent, name="parent", daemon=True).start()
    config = ServeConfig.model_validate_json(config_json)
    try:
        shard = meet(rank, config.tensor_parallel, rendezvous)
        runner = runners.start(config, shard, lambda done, total: None)
        while (plan := pipe.recv()) is not None:
            runner.forward(plan, lambda: None)
    except Exception as error:  # noqa: BLE001 whatever it is, rank 0 must hear of it
        traceback.print_exc(file=sys.stderr)
        failure = explain(error, Path(config.model))
        pipe.send((failure.reason, failure.message, int(failure.code)))
        _leave(failure.code)
    dist.destroy_process_group()


def _die_with_parent() -> None:
    parent = mp.parent_process()
    if parent is not None:
        parent.join()
        _leave(ExitCode.INTERNAL)


def _leave(code: ExitCode) -> None:
    """End at once: other threads may wait in a collective that nobody will complete."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
