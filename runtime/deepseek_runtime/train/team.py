"""The processes that train together, and the few words they exchange beside gradients."""

import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.train.exchange import Assignment
from deepseek_runtime.train.rendezvous import address

TIMEOUT = timedelta(minutes=10)
"""Longer than a checkpoint is written or its digests are worked out; who dies is noticed by agent and supervisors."""

_LOST = ("gloo", "nccl", "connection closed by peer", "connection reset by peer", "broken pipe", "timed out")


@dataclass(frozen=True)
class Team:
    """This process among `size`. Control words travel as CPU tensors, so that asking never waits for an accelerator."""

    rank: int
    size: int
    device: torch.device
    local_rank: int = 0

    @classmethod
    def join(cls, directory: Path, assignment: Assignment) -> "Team":
        """Meet the others: over a file in `directory` if all are in this pod, so no port is opened, else at pod 0."""
        job, local_rank = assignment.job, int(os.environ["RANK"])
        rank, size = assignment.index * job.processes + local_rank, job.nodes * job.processes
        device = torch.device("cpu")
        if torch.cuda.is_available():
            if job.processes > torch.cuda.device_count():
                raise ConfigurationError(
                    "InvalidConfig",
                    f"{job.processes} processes need a GPU each, the pod has {torch.cuda.device_count()}.",
                )
            device = torch.device("cuda", local_rank)
            torch.cuda.set_device(device)
        meeting = (directory / "collectives").as_uri()
        if job.nodes > 1:
            host, port = address(job)
            meeting = f"tcp://{host}:{port + 1}"
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            init_method=meeting,
            rank=rank,
            world_size=size,
            timeout=TIMEOUT,
        )
        return cls(rank, size, device, local_rank)

    @staticmethod
    def leave() -> None:
        """Close the connections."""
        dist.destroy_process_group()

    @property
    def first(self) -> bool:
        """Whether this is the process that writes what is there once."""
        return self.rank == 0

    @property
    def speaks(self) -> bool:
        """Whether this is the process that reports for its pod, and hears what the pod is told."""
        return self.local_rank == 0

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def agree(self, number: int) -> int:
        """What the first process says; everybody must ask."""
        if self.size == 1:
            return number
        word = torch.tensor(number)
        dist.broadcast(word, src=0)
        return int(word)

    def any(self, *, mine: bool) -> bool:
        """Whether it is so for one of them; everybody must ask."""
        return bool(self.sum(torch.tensor(int(mine))))

    def meet(self) -> None:
        """Wait until everybody is here."""
        self.any(mine=False)

    def collect(self, word: bytes) -> list[bytes]:
        """What each process says, by rank, all of one length; everybody must ask."""
        if self.size == 1:
            return [word]
        said = [torch.empty(len(word), dtype=torch.uint8) for _ in range(self.size)]
        dist.all_gather(said, torch.frombuffer(bytearray(word), dtype=torch.uint8))
        return [bytes(one.tolist()) for one in said]


def lost_contact(error: BaseException) -> bool:
    """Whether an exception is torch.distributed's word for another process that is gone: it has no type of its own."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _LOST)
    )
