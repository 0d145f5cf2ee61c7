"""The matrices of one projection of all routed experts, and products with those that were hit."""

from collections.abc import Sequence
from typing import Protocol

import torch

from deepseek_runtime.serve.layers.int8 import Int8Weight, activations
from deepseek_runtime.serve.layers.linear import Linear
from deepseek_runtime.serve.matrix import Int8Matrix, Matrix

Hits = Sequence[tuple[int, int]]
"""Experts in the order of the rows, and how many rows each has."""


class Bank(Protocol):
    """Multiplies rows that are sorted by expert."""

    def __call__(self, x: torch.Tensor, hits: Hits) -> torch.Tensor:
        """(rows, in) to (rows, out)."""
        ...


class LinearBank:
    """In plain numbers."""

    def __init__(self, matrices: Sequence[torch.Tensor]) -> None:
        self.experts = [Linear(matrix) for matrix in matrices]

    def __call__(self, x: torch.Tensor, hits: Hits) -> torch.Tensor:
        """As Bank."""
        parts = torch.split(x, [count for _, count in hits])
        return torch.cat([self.experts[e](part) for (e, _), part in zip(hits, parts, strict=True)])


class Int8Bank:
    """In bytes; the rows of all experts are turned into them, and back, at once."""

    def __init__(self, matrices: Sequence[Int8Matrix]) -> None:
        self.activations = activations(matrices[0])
        self.experts = [Int8Weight(matrix, self.activations.step) for matrix in matrices]

    def __call__(self, x: torch.Tensor, hits: Hits) -> torch.Tensor:
        """As Bank."""
        encoded, scale = self.activations.encode(x)
        parts = torch.split(encoded, [count * self.activations.rows for _, count in hits])
        products = torch.cat([self.experts[e](part) for (e, _), part in zip(hits, parts, strict=True)])
        return self.activations.decode(products, scale).to(x.dtype)


def bank(matrices: Sequence[Matrix], dtype: torch.dtype) -> Bank:
    """int8 where all experts are of one kind, else in `dtype`."""
    int8 = [matrix for matrix in matrices if isinstance(matrix, Int8Matrix)]
    if len(int8) == len(matrices) and len({matrix.dynamic for matrix in int8}) == 1:
        return Int8Bank(int8)
    return LinearBank([m.dequantize(dtype) if isinstance(m, Int8Matrix) else m for m in matrices])
