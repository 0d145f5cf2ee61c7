"""What every stored form of a quantized weight can do."""

from collections.abc import Mapping
from typing import Protocol

import torch

from deepseek_runtime.quantize.formats.weight import Block, QuantizedWeight
from deepseek_runtime.quantize.parts import Entry, Shape

Rows = tuple[int, int]
"""First and last-plus-one."""


class Read(Protocol):
    """Reads one of a weight's parts by its name, or the given rows of it."""

    def __call__(self, part: str, rows: Rows | None, /) -> torch.Tensor:
        """The tensor as it is stored."""
        ...


class Format(Protocol):
    """Knows the tensors that stand for one weight in a file, beside each other under the module's name."""

    @property
    def parts(self) -> frozenset[str]:
        """Their names."""
        ...

    @property
    def height(self) -> int:
        """Rows that share a scale: rows are read from a multiple of it on."""
        ...

    def layout(self, shape: Shape, scale: Entry) -> dict[str, Entry]:
        """What a weight (out, in) with such a scale becomes."""
        ...

    def store(self, weight: QuantizedWeight) -> dict[str, torch.Tensor]:
        """The parts of a weight, in its memory where they fit: it is used up."""
        ...

    def fits(self, parts: Mapping[str, Entry]) -> bool:
        """Whether such parts can be one weight, as far as dtypes and shapes tell."""
        ...

    def shape(self, parts: Mapping[str, Entry], read: Read) -> Shape | None:
        """Of the weight; None where the parts do not belong together."""
        ...

    def load(self, shape: Shape, read: Read, rows: Rows | None) -> QuantizedWeight:
        """The weight, or the given rows of it."""
        ...


def block(shape: Shape, scales: Shape) -> Block | None:
    """Columns of a row that share a scale, where scales (out, groups) fit a weight (out, in)."""
    rows, columns = shape
    if len(scales) != 2 or scales[0] != rows or not 0 < scales[1] <= columns or columns % scales[1]:
        return None
    return 1, columns // scales[1]
