"""Weights rounded to the nearest of the levels that a number of few bits has."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from deepseek_runtime.quantize.formats.weight import BAND, Block, QuantizedWeight
from deepseek_runtime.quantize.parts import Shape


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


CPU = torch.device("cpu")

Rows = Callable[[int, int], torch.Tensor]
"""Rows `first` to `last` - 1 of a weight."""


class NotFiniteError(ArithmeticError):
    """A weight that is to be rounded has NaN or infinite values."""


def round_to_nearest(weight: torch.Tensor, levels: Levels, block: Block, scale: torch.dtype) -> QuantizedWeight:
    """The weight (out, in), rounded as `round_rows` does, on its own device."""
    shape = tuple(weight.shape)
    return round_rows(lambda first, last: weight[first:last], shape, levels, block, scale, weight.device)


def round_rows(
    rows: Rows,
    shape: Shape,
    levels: Levels,
    block: Block,
    scale: torch.dtype,
    device: torch.device = CPU,
) -> QuantizedWeight:
    """A weight of `shape` (out, in), asked for in bands, with a scale of dtype `scale` for each block.

    `device`: where the bands lie, and what becomes of them.
    Blocks at the edges may be smaller. Rounds against the scale as it is stored, so that its own rounding costs
    nothing; a block of zeros has scale 1. Errors: NotFiniteError.
    """
    (height, width), (down, across) = shape, block
    values = torch.empty(shape, dtype=levels.dtype, device=device)
    factors = torch.empty(math.ceil(height / down), math.ceil(width / across), dtype=scale, device=device)
    step = max(1, min(BAND // max(1, width * down), len(factors)))
    # One for all bands: memory that is new costs more than what is computed in it. Its edges stay zero.
    scratch = torch.zeros(step * down, factors.shape[1] * across, device=device)
    for first in range(0, len(factors), step):
        top, bottom = first * down, min((first + step) * down, height)
        band = scratch[: math.ceil((bottom - top) / down) * down]
        band[: bottom - top, :width].copy_(rows(top, bottom))
        band[bottom - top :] = 0
        factors[first : first + step] = _round_band(band, levels, block, scale)
        values[top:bottom].copy_(band[: bottom - top, :width])
    return QuantizedWeight(values, factors, block)


def _round_band(band: torch.Tensor, levels: Levels, block: Block, scale: torch.dtype) -> torch.Tensor:
    """Puts the levels in place of the numbers of whole blocks, in fp32, and gives the scales."""
    height, width = block
    blocks = band.view(len(band) // height, height, band.shape[1] // width, width)
    # A third of the time that abs() and its copy take.
    largest = torch.maximum(blocks.amax(dim=(1, 3)), -blocks.amin(dim=(1, 3)))
    if not bool(torch.isfinite(largest).all()):
        raise NotFiniteError
    factors = (largest / levels.reach).to(scale)
    factors = torch.where(factors > 0, factors, torch.ones_like(factors))
    blocks.div_(factors.float()[:, None, :, None])
    if not levels.dtype.is_floating_point:
        blocks.round_()
    blocks.clamp_(levels.low, levels.high)
    return factors
