"""A layer's matrix as it is stored: plain numbers, or int8 with a scale for each output channel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

import torch


@dataclass(frozen=True, slots=True)
class Int8Matrix:
    """`values` (out, in) int8 times `scale` (out, 1).

    `dynamic`: activations are rounded to int8 as well, each token by its own largest (W8A8). `input_scale` (out, 1):
    they are, by a fixed scale, that of the linear layer which an output channel is of. Otherwise weight-only.
    """

    values: torch.Tensor
    scale: torch.Tensor
    dynamic: bool
    input_scale: torch.Tensor | None = None

    def dequantize(self, dtype: torch.dtype) -> torch.Tensor:
        """The matrix in plain numbers, rounded once."""
        return (self.values.float() * self.scale.float()).to(dtype)


Matrix = torch.Tensor | Int8Matrix


def of_one_kind(matrices: Sequence[Matrix]) -> TypeGuard[Sequence[Int8Matrix]]:
    """Whether all are int8 and want the same of their activations; fixed scales may differ."""
    int8 = [matrix for matrix in matrices if isinstance(matrix, Int8Matrix)]
    return len(int8) == len(matrices) and len({(one.dynamic, one.input_scale is None) for one in int8}) == 1


def alike(matrices: Sequence[Matrix]) -> bool:
    """Whether they are multiplied in the same way: as int8 of one kind, or as plain numbers."""
    return of_one_kind(matrices) or not any(isinstance(matrix, Int8Matrix) for matrix in matrices)


def stack(parts: Sequence[Matrix], dtype: torch.dtype) -> Matrix:
    """Matrices of the same input one above the other: int8 where all are of one kind, else in `dtype`."""
    if of_one_kind(parts):
        inputs = [part.input_scale for part in parts if part.input_scale is not None]
        return Int8Matrix(
            torch.cat([part.values for part in parts]),
            torch.cat([part.scale for part in parts]),
            parts[0].dynamic,
            torch.cat(inputs) if inputs else None,
        )
    return torch.cat([part.dequantize(dtype) if isinstance(part, Int8Matrix) else part for part in parts])
