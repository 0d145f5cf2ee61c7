"""A layer's matrix as it is stored: plain numbers, or int8 with a scale for each output channel."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Int8Matrix:
    """`values` (out, in) int8 times `scale` (out, 1).

    `dynamic`: activations are rounded to int8 as well, each token by its own largest (W8A8); otherwise weight-only.
    """

    values: torch.Tensor
    scale: torch.Tensor
    dynamic: bool

    def dequantize(self, dtype: torch.dtype) -> torch.Tensor:
        """The matrix in plain numbers, rounded once."""
        return (self.values.float() * self.scale.float()).to(dtype)


Matrix = torch.Tensor | Int8Matrix


def stack(parts: Sequence[Matrix], dtype: torch.dtype) -> Matrix:
    """Matrices of the same input one above the other: int8 where all are of one kind, else in `dtype`."""
    int8 = [part for part in parts if isinstance(part, Int8Matrix)]
    if len(int8) == len(parts) and len({part.dynamic for part in int8}) == 1:
        values = torch.cat([part.values for part in int8])
        return Int8Matrix(values, torch.cat([part.scale for part in int8]), int8[0].dynamic)
    return torch.cat([part.dequantize(dtype) if isinstance(part, Int8Matrix) else part for part in parts])
