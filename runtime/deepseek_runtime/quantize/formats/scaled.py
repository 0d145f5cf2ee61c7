"""Weights that keep their name and shape and have a scale beside them.

`int-quantized` and `float-quantized` are compressed-tensors' formats for int8 and fp8 with one scale for each output
channel; a static int8 weight also has `input_scale`, which is for who multiplies in int8. In DeepSeek's own format
(deepseek-ai/DeepSeek-V3, README_WEIGHTS.md) `weight_scale_inv` holds one float32 for each block of 128 x 128, the
blocks at the edges being smaller; in spite of its name it is multiplied with.
"""

import math
from collections.abc import Mapping

import torch

from deepseek_runtime.quantize.formats.format import Read, Rows, block
from deepseek_runtime.quantize.formats.weight import QuantizedWeight
from deepseek_runtime.quantize.parts import BLOCK, SCALE, SCALE_INV, WEIGHT, Entry, Shape


class ChannelScaled:
    """`dtype` of the values: I8 or F8_E4M3."""

    parts = frozenset({WEIGHT, SCALE})
    height = 1

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def layout(self, shape: Shape, scale: Entry) -> dict[str, Entry]:
        """What a weight (out, in) with such a scale becomes."""
        return {WEIGHT: (self.dtype, shape), SCALE: scale}

    def store(self, weight: QuantizedWeight) -> dict[str, torch.Tensor]:
        """The parts of a weight."""
        return {WEIGHT: weight.values, SCALE: weight.scale}

    def fits(self, parts: Mapping[str, Entry]) -> bool:
        """Whether such parts can be one weight, as far as dtypes and shapes tell."""
        dtype, shape = parts[WEIGHT]
        return dtype == self.dtype and len(shape) == 2 and block(shape, parts[SCALE][1]) is not None

    def shape(self, parts: Mapping[str, Entry], read: Read) -> Shape | None:
        """Of the weight."""
        return parts[WEIGHT][1]

    def load(self, shape: Shape, read: Read, rows: Rows | None) -> QuantizedWeight:
        """The weight, or the given rows of it."""
        scale = read(SCALE, rows)
        return QuantizedWeight(read(WEIGHT, rows), scale, (1, shape[1] // scale.shape[1]))


class BlockScaled:
    """DeepSeek's fp8 blocks."""

    parts = frozenset({WEIGHT, SCALE_INV})
    height = BLOCK

    def layout(self, shape: Shape, scale: Entry) -> dict[str, Entry]:
        """What a weight (out, in) with such a scale becomes."""
        return {WEIGHT: ("F8_E4M3", shape), SCALE_INV: scale}

    def store(self, weight: QuantizedWeight) -> dict[str, torch.Tensor]:
        """The parts of a weight."""
        return {WEIGHT: weight.values, SCALE_INV: weight.scale}

    def fits(self, parts: Mapping[str, Entry]) -> bool:
        """Whether such parts can be one weight, as far as dtypes and shapes tell."""
        dtype, shape = parts[WEIGHT]
        blocks = tuple(math.ceil(size / BLOCK) for size in shape)
        return dtype == "F8_E4M3" and len(shape) == 2 and parts[SCALE_INV] == ("F32", blocks)

    def shape(self, parts: Mapping[str, Entry], read: Read) -> Shape | None:
        """Of the weight."""
        return parts[WEIGHT][1]

    def load(self, shape: Shape, read: Read, rows: Rows | None) -> QuantizedWeight:
        """The weight, or the given rows of it, which begin with a block."""
        blocks = None if rows is None else (rows[0] // BLOCK, math.ceil(rows[1] / BLOCK))
        return QuantizedWeight(read(WEIGHT, rows), read(SCALE_INV, blocks), (BLOCK, BLOCK))
