"""The matrices of one projection of all routed experts, and products with those that were hit."""

from collections.abc import Sequence
from typing import Protocol

import torch

from deepseek_runtime.serve.layers.int8 import Int8Weight, activations, int8_linear
from deepseek_runtime.serve.layers.linear import Linear, Projection
from deepseek_runtime.serve.matrix import Int8Matrix, Matrix, of_one_kind

Hits = Sequence[tuple[int, int]]
"""Experts in the order of the rows, and how many rows each has."""


class Bank(Protocol):
    """Multiplies rows that are sorted by expert."""

    def __call__(self, x: torch.Tensor, hits: Hits) -> torch.Tensor:
        """(rows, in) to (rows, out), in x's dtype or fp32. A single row is every expert's: (1, in) to (hits, out)."""
        ...


class LinearBank:
    """A product for each expert, which has nothing in common with others: plain numbers, or scales of its own."""

    def __init__(self, experts: Sequence[Projection]) -> None:
        self.experts = experts

    def __call__(self, x: torch.Tensor, hits: Hits) -> torch.Tensor:
        """As Bank."""
        return torch.cat([self.experts[e](part) for (e, _), part in zip(hits, _parts(x, hits), strict=True)])


class Int8Bank:
    """In bytes; the rows of all experts are turned into them, and back, at once."""

    def __init__(self, matrices: Sequence[Int8Matrix]) -> None:
        self.activations = activations(matrices[0])
        self.experts = [Int8Weight(matrix, self.activations.step) for matrix in matrices]

    def __call__(self, x: torch.Tensor, hits: Hits) -> torch.Tensor:
        """As Bank."""
        encoded, scale = self.activations.encode(x)
        parts = _parts(encoded, hits, self.activations.rows)
        products = torch.cat([self.experts[e](part) for (e, _), part in zip(hits, parts, strict=True)])
        return self.activations.decode(products, scale)


def _parts(x: torch.Tensor, hits: Hits, each: int = 1) -> Sequence[torch.Tensor]:
    """The rows of each hit; `each` of them stand for one."""
    if len(x) == each:
        return [x] * len(hits)
    return torch.split(x, [count * each for _, count in hits])


def bank(matrices: Sequence[Matrix], dtype: torch.dtype) -> Bank:
    """int8 where all experts are of one kind, else in `dtype`."""
    if not of_one_kind(matrices):
        return LinearBank([Linear(m.dequantize(dtype) if isinstance(m, Int8Matrix) else m) for m in matrices])
    if matrices[0].input_scale is not None:
        return LinearBank([int8_linear(matrix) for matrix in matrices])
    return Int8Bank(matrices)
