"""Matrix products whose weights are laid out once for the machine they run on."""

from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 torch's own convention

ROWS_HINT = 16
"""The layout oneDNN picks for this many rows is good at 1 to 32; one picked for a single row is twice as slow at 8."""


class Projection(Protocol):
    """A product with a matrix, whatever form that is held in."""

    def __call__(self, x: torch.Tensor, add: torch.Tensor | None = None) -> torch.Tensor:
        """(rows, in) to (rows, out), plus `add` of the result's shape; in the dtype that the product is made in."""
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
        x, add = x.to(self.weight.dtype), None if add is None else add.to(self.weight.dtype)
        if self.packed:
            return self._packed_product(x, add)
        y = F.linear(x, self.weight, self.bias)
        return y if add is None else y + add

    def _packed_product(self, x: torch.Tensor, add: torch.Tensor | None) -> torch.Tensor:
        """oneDNN compiles a kernel for every count of rows and keeps it, up to 1,024 kernels of 0.3 to 0.9 MB each.

        Hence larger counts, of which prompts have all, are filled up with zeros to a few.
        """
        rows = len(x)
        missing = -rows % ROWS_HINT if rows > ROWS_HINT else 0
        if missing:
            x = F.pad(x, (0, 0, 0, missing))
            add = None if add is None else F.pad(add, (0, 0, 0, missing))
        product = torch.ops.mkldnn._linear_pointwise
        if add is None:
            y: torch.Tensor = product(x, self.weight, self.bias, "none", [], "")
        else:
            y = product.binary(x, add, self.weight, self.bias, "add")
        return y[:rows] if missing else y
