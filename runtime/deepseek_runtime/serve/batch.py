"""A plan as tensors, with everything that all layers share: rotary factors, buckets of decodes, masks."""

from dataclasses import dataclass
from typing import Self

import torch

from deepseek_runtime.serve.cache import BLOCK_SIZE
from deepseek_runtime.serve.plan import Plan

LATENT_PREFILL = 64
"""MLA computes chunks up to this many tokens in the latent space, longer ones expanded to heads: as measured."""

SMALL_BUCKET = 4
"""Decodes that share a bucket whatever their lengths: fewer kernels beat less padding."""


@dataclass(frozen=True, slots=True)
class DecodeBucket:
    """Single tokens first:last of sequences of similar length; `mask` (sequences, 1, keys) is added to scores."""

    first: int
    last: int
    blocks: torch.Tensor
    mask: torch.Tensor


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens first:last of one sequence after `context` cached ones; `mask` (tokens, keys), None: plain causal."""

    first: int
    last: int
    context: int
    blocks: torch.Tensor
    mask: torch.Tensor | None

    @property
    def length(self) -> int:
        """Keys that its last token sees."""
        return self.context + self.last - self.first


@dataclass(frozen=True, slots=True)
class Batch:
    """One iteration's input."""

    tokens: torch.Tensor
    slots: torch.Tensor
    factors: torch.Tensor  # (tokens, 1, rotary dim / 2) complex
    decodes: tuple[DecodeBucket, ...]
    chunks: tuple[Chunk, ...]
    emit: torch.Tensor

    @classmethod
    def of(cls, plan: Plan, rotary: torch.Tensor, dtype: torch.dtype) -> Self:
        """Tensors on the device of the rotary table; masks in `dtype`."""
        device = rotary.device
        decode_blocks = torch.from_numpy(plan.decode_blocks).to(device)
        lengths = torch.from_numpy(plan.decode_lengths).to(device)
        return cls(
            tokens=torch.from_numpy(plan.tokens).to(device),
            slots=torch.from_numpy(plan.slots).to(device),
            factors=rotary[torch.from_numpy(plan.positions).to(device)][:, None],
            decodes=tuple(
                _bucket(first, last, decode_blocks, lengths, int(plan.decode_lengths[first]), dtype)
                for first, last in bucket_bounds(plan.decode_lengths.tolist())
            ),
            chunks=tuple(
                Chunk(
                    p.start,
                    p.start + p.count,
                    p.context,
                    torch.from_numpy(p.blocks).to(device)[None],
                    _causal(p.context, p.count, dtype, device) if p.context or p.count <= LATENT_PREFILL else None,
                )
                for p in plan.prefills
            ),
            emit=torch.from_numpy(plan.emit).to(device),
        )


def bucket_bounds(lengths: list[int]) -> list[tuple[int, int]]:
    """Cut descending lengths where the longest of a bucket would be twice the next one."""
    bounds: list[tuple[int, int]] = []
    first = 0
    for i in range(1, len(lengths) + 1):
        if i == len(lengths) or (i - first >= SMALL_BUCKET and lengths[i] * 2 <= lengths[first]):
            bounds.append((first, i))
            first = i
    return bounds


def _bucket(
    first: int, last: int, blocks: torch.Tensor, lengths: torch.Tensor, longest: int, dtype: torch.dtype
) -> DecodeBucket:
    count = -(-longest // BLOCK_SIZE)
    keys = torch.arange(count * BLOCK_SIZE, device=blocks.device)
    mask = torch.zeros(last - first, 1, len(keys), dtype=dtype, device=blocks.device)
    mask.masked_fill_(keys >= lengths[first:last, None, None], float("-inf"))
    return DecodeBucket(first, last, blocks[first:last, :count], mask)


def _causal(context: int, count: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    keys = torch.arange(context + count, device=device)
    mask = torch.zeros(count, len(keys), dtype=dtype, device=device)
    return mask.masked_fill_(keys > keys[context:, None], float("-inf"))
