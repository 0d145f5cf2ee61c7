"""This process's share of every layer, and the sums that put shares together (Megatron-LM, arXiv:1909.08053)."""

from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True, slots=True)
class Shard:
    """Rank `rank` of `world` tensor-parallel processes; the default is the whole model in one process."""

    rank: int = 0
    world: int = 1

    def bounds(self, size: int) -> tuple[int, int]:
        """First and last-plus-one of this rank's part of `size` things, in multiples of 16 where there are enough."""
        unit = 16 if size % 16 == 0 and size >= 16 * self.world else 1
        units = size // unit
        return units * self.rank // self.world * unit, units * (self.rank + 1) // self.world * unit

    def all_reduce(self, x: torch.Tensor) -> torch.Tensor:
        """The sum over all ranks, in place."""
        if self.world > 1:
            dist.all_reduce(x)
        return x

    def all_gather(self, x: torch.Tensor) -> torch.Tensor:
        """All ranks' parts, equally large, side by side in the last dimension."""
        if self.world == 1:
            return x
        parts = [torch.empty_like(x) for _ in range(self.world)]
        dist.all_gather(parts, x)
        return torch.cat(parts, -1)
