"""int8 weights as compressed-tensors stores them in its `pack-quantized` format.

Four values, each raised by 128 to a byte, in one int32, the first in the lowest byte; rows are padded with zero bytes.
Beside `weight_packed` stand `weight_scale` (one for each output channel) and `weight_shape`. transformers and vLLM
read it.
"""

import math

import torch

PACKED, SCALE, SHAPE = "weight_packed", "weight_scale", "weight_shape"
COMPANIONS = frozenset({SCALE, SHAPE})
LARGEST = 127
"""Symmetric: -128 is not used."""


def packed_columns(columns: int) -> int:
    """How many int32 a row of so many values takes."""
    return math.ceil(columns / 4)


def quantize(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Packed values (out, ceil(in / 4)) int32, scales (out, 1) in the weight's dtype, and the shape (2,) int64.

    Rounds to nearest against the scale as it is stored, so that its own rounding costs nothing; a row of zeros has
    scale 1. The weight must be finite.
    """
    largest = weight.abs().amax(dim=1, keepdim=True).float()
    scale = (largest / LARGEST).to(weight.dtype)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    values = (weight.float() / scale.float()).round_().clamp_(-LARGEST, LARGEST)
    return _pack(values.to(torch.int8)), scale, torch.tensor(weight.shape, dtype=torch.int64)


def consistent(packed: torch.Tensor, scale: torch.Tensor, shape: torch.Tensor) -> bool:
    """Whether three tensors fit together as one weight."""
    if packed.dtype != torch.int32 or packed.ndim != 2 or not scale.is_floating_point() or shape.numel() != 2:
        return False
    rows, columns = (int(size) for size in shape.flatten())
    return packed.shape == (rows, packed_columns(columns)) and scale.shape == (rows, 1)


def dequantize(packed: torch.Tensor, scale: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
    """The weight (out, in) in the scale's dtype."""
    return (unpack(packed, int(shape[1])).to(scale.dtype)) * scale


def unpack(packed: torch.Tensor, columns: int) -> torch.Tensor:
    """The int8 values (rows, columns) of packed int32 (rows, ceil(columns / 4))."""
    values = packed.contiguous().view(torch.uint8)[:, :columns]
    return (values ^ 0x80).view(torch.int8)


def _pack(values: torch.Tensor) -> torch.Tensor:
    rows, columns = values.shape
    padded = torch.zeros(rows, 4 * packed_columns(columns), dtype=torch.uint8)
    padded[:, :columns] = values.view(torch.uint8) ^ 0x80
    return padded.view(torch.int32)
