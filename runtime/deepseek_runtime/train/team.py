"""The processes that train together, and the few words they exchange beside gradients."""

import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from deepseek_runtime.job.errors import ConfigurationError

TIMEOUT = timedelta(minutes=30)
"""Longer than the first process writes a checkpoint; a process that dies is noticed by torchrun's agent."""


@dataclass(frozen=True)
class Team:
    """This process among `size`. Control words travel as CPU tensors, so that asking never waits for an accelerator."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def join(cls, directory: Path) -> "Team":
        """Meet the others over a file in `directory`: no port is opened to anything but the loopback."""
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        device = torch.device("cpu")
        if torch.cuda.is_available():
            if size > torch.cuda.device_count():
                raise ConfigurationError(
                    "InvalidConfig", f"{size} processes need a GPU each, the pod has {torch.cuda.device_count()}."
                )
            device = torch.device("cuda", rank)
            torch.cuda.set_device(device)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            init_method=(directory / "collectives").as_uri(),
            rank=rank,
            world_size=size,
            timeout=TIMEOUT,
        )
        return cls(rank, size, device)

    @staticmethod
    def leave() -> None:
        """Close the connections."""
        dist.destroy_process_group()

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

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
