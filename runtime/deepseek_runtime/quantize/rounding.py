"""Weights rounded to the nearest of the levels that a number of few bits has."""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from deepseek_runtime.quantize.formats.weight import Block, QuantizedWeight

BAND = 1 << 18
"""Numbers that are worked on at once: 1 MB of them stays in a core's own cache, four take twice as long."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Numbers from `low` to `high`; the largest magnitude of a block comes to lie at `reach`."""

    dtype: torch.dtype
    low: float
    high: float
    reach: float


INT8 = Levels(torch.int8, -127, 127, 127)
"""Symmetric: -128 is not used."""
INT4 = Levels(torch.int8, -8, 7, 7.5)
"""All sixteen: at either end a value may lie half a step beyond the last."""
FP8 = Levels(torch.float8_e4m3fn, -448, 448, 448)


def round_to_nearest(weight: torch.Tensor, levels: Levels, block: Block, scale: torch.dtype) -> QuantizedWeight:
    """The weight (out, in) with a scale of dtype `scale` for each block; blocks at the edges may be smaller.

    Rounds against the scale as it is stored, so that its own rounding costs nothing; a block of zeros has scale 1. The
    weight must be finite.
    """
    (rows, columns), (height, width) = weight.shape, block
    values = torch.empty(weight.shape, dtype=levels.dtype)
    factors = torch.empty(math.ceil(rows / height), math.ceil(columns / width), dtype=scale)
    step = max(1, BAND // max(1, columns * height))
    for first in range(0, len(factors), step):
        band = slice(first * height, (first + step) * height)
        values[band], factors[first : first + step] = _round_band(weight[band], levels, block, scale)
    return QuantizedWeight(values, factors, block)


def _round_band(
    weight: torch.Tensor, levels: Levels, block: Block, scale: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    (rows, columns), (height, width) = weight.shape, block
    down, across = math.ceil(rows / height), math.ceil(columns / width)
    if rows % height or columns % width:
        weight = functional.pad(weight, (0, across * width - columns, 0, down * height - rows))
    blocks = weight.reshape(down, height, across, width).float()
    factors = (blocks.abs().amax(dim=(1, 3)) / levels.reach).to(scale)
    factors = torch.where(factors > 0, factors, torch.ones_like(factors))
    values = blocks / factors.float()[:, None, :, None]
    if not levels.dtype.is_floating_point:
        values.round_()
    values.clamp_(levels.low, levels.high)
    return values.to(levels.dtype).view(down * height, across * width)[:rows, :columns], factors
