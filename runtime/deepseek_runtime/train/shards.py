"""Tensors of one checkpoint on disk: a safetensors file from each process, read back by any number of them.

PyTorch's distributed checkpoints in their safetensors form. Every process plans for itself, so nothing is pickled, on
disk or between processes.
"""

import shutil
import warnings
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor


def name(rank: int) -> str:
    """The file of one process."""
    return f"rank-{rank:05d}.safetensors"


def is_sharded(tensors: dict[str, torch.Tensor]) -> bool:
    """Whether every process holds but a part of some tensor."""
    return any(isinstance(tensor, DTensor) for tensor in tensors.values())


def write(tensors: dict[str, torch.Tensor], directory: Path, rank: int) -> Path | None:
    """Write what this process holds: of sharded tensors its part, the others only on the first. None: nothing."""
    held = {name: tensor.detach() for name, tensor in tensors.items() if _holds(tensor, rank)}
    if not held:
        return None
    scratch = directory / f"writing-{rank:05d}"
    writer = HuggingFaceStorageWriter(str(scratch), save_distributed=True)
    with _alone():
        save(held, storage_writer=writer, no_dist=True)
    (written,) = scratch.glob("*.safetensors")
    target = directory / name(rank)
    written.rename(target)
    shutil.rmtree(scratch)
    return target


def read(tensors: dict[str, torch.Tensor], directory: Path) -> None:
    """Fill tensors, sharded or not, in place, from the files of a directory, however many processes wrote them."""
    wanted = {name: tensor.detach() for name, tensor in tensors.items()}
    with _alone():
        load(wanted, storage_reader=HuggingFaceStorageReader(str(directory)), no_dist=True)


def _holds(tensor: torch.Tensor, rank: int) -> bool:
    return tensor.to_local().numel() > 0 if isinstance(tensor, DTensor) else rank == 0


def _alone() -> AbstractContextManager[object]:
    """Without the warning that only one process takes part."""
    return warnings.catch_warnings(action="ignore", category=UserWarning)
