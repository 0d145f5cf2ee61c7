"""One process of a tensor-parallel engine: how ranks meet, and the whole life of those that follow rank 0.

They meet through a file and talk over the loopback device: nothing listens outside the pod.
"""

import multiprocessing as mp
import os
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch.distributed as dist

from deepseek_runtime.job.failures import explain
from deepseek_runtime.serve import runner as runners
from deepseek_runtime.serve.shard import Shard
from deepseek_runtime.wire.exit_codes import ExitCode
from deepseek_runtime.wire.serve import ServeConfig


def meet(rank: int, world: int, rendezvous: Path) -> Shard:
    """Join the process group; every rank calls it with the same file."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    device = runners.pick_device(rank, world)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    store = dist.FileStore(str(rendezvous), world)  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=store, rank=rank, world_size=world)
    return Shard(rank, world)


def follow(rank: int, config: ServeConfig, pipe: Connection) -> None:
    """Wait to be admitted, load, compute what is sent; tells rank 0 why it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; rank 0 decides
    threading.Thread(target=_die_with_parent, name="parent", daemon=True).start()
    try:
        admitted = pipe.recv()
        if admitted is None:
            return
        weights, rendezvous = admitted
        config = config.model_copy(update={"model": weights})
        shard = meet(rank, config.tensor_parallel, Path(rendezvous))
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
