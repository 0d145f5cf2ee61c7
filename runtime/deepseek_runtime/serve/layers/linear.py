"""Matrix products whose weights are laid out once for the machine they run on."""

from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 torch's own convention

ROWS_HINT = 16
"""The layout oneDNN picks for this many rows is good at 1 to 32; one picked for a single row is twice as slow at 8."""


class Projection(Protocol):
    """A product with a matrix, whatever form that is held in."""

    def __call__(self, x: torch.Tensor, add: torch.Tensor | None = None) -> torch.Tensor:
        """(rows, in) to (rows, out), plus `add` of the result's shape."""
        ...


class Linear:
    """x @ weight.T (+ bias, + add).

    On the CPU the weight is prepacked by oneDNN: 1.3 to 2.7 times faster than F.linear at the 2 to 32 rows of a decode.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self.bias = bias
        self.packed = weight.device.type == "cpu" and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), ROWS_HINT) if self.packed else weight

    def __call__(self, x: torch.Tensor, add: torch.Tensor | None = None) -> torch.Tensor:
        """(rows, in) to (rows, out), plus `add` of the result's shape."""
        if self.packed:
            product = torch.ops.mkldnn._linear_pointwise
            if add is not None:
                return product.binary(x, add, self.weight, self.bias, "add")  # type: ignore[no-any-return]
            return product(x, self.weight, self.bias, "none", [], "")  # type: ignore[no-any-return]
        y = F.linear(x, self.weight, self.bias)
        return y if add is None else y + add
