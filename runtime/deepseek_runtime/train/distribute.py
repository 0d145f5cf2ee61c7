"""How a model is spread over the processes: whole on each, or a share of every parameter on each."""

from typing import Literal

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from deepseek_runtime.train.team import Team

SHARDED_FROM = 1_000_000_000
"""Parameters from which `auto` shards: with gradients and AdamW's moments 16 GB on each process."""


def distribute(model: nn.Module, team: Team, strategy: Literal["auto", "ddp", "fsdp"]) -> nn.Module:
    """The module to call instead of `model`, whose gradients are then means over the team.

    `fsdp` (FSDP2) makes sharded DTensors of the parameters of `model` itself: parameters, gradients and moments take
    one share of memory each. `ddp` keeps them whole and exchanges less, which is faster where they fit.
    """
    if team.size == 1:
        return model
    if strategy == "auto":
        strategy = "fsdp" if sum(one.numel() for one in model.parameters()) >= SHARDED_FROM else "ddp"
    if strategy == "fsdp":
        mesh = init_device_mesh(team.device.type, (team.size,))
        for layer in _layers(model):
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        return model
    devices = [team.device] if team.device.type == "cuda" else None
    # Buffers are kept equal by what changes them.
    return DistributedDataParallel(model, device_ids=devices, forward_sync_buffers=False, gradient_as_bucket_view=True)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The whole of a tensor that may be sharded; everybody must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _layers(model: nn.Module) -> list[nn.Module]:
    """The transformer's layers: the longest list of modules. Each is gathered when its turn comes, and freed after."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return list(max(lists, key=len, default=[]))
