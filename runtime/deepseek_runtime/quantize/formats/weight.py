"""A quantized weight, whatever form it is stored in."""

from dataclasses import dataclass

import torch

Block = tuple[int, int]
"""Rows and columns of the values that share a scale."""

BAND = 1 << 18
"""Numbers that are worked on at once: 1 MB of them stays in a core's own cache, four take twice as long."""


@dataclass(frozen=True, slots=True)
class QuantizedWeight:
    """`values` (out, in), int8 or float8_e4m3fn; `scale` (ceil(out / block rows), ceil(in / block columns)).

    The weight is values * scale, the scale of a value being that of the block it lies in.
    """

    values: torch.Tensor
    scale: torch.Tensor
    block: Block

    def cpu(self) -> "QuantizedWeight":
        """The same where it can be packed and written."""
        return QuantizedWeight(self.values.cpu(), self.scale.cpu(), self.block)

    def dequantize(self, dtype: torch.dtype | None = None) -> torch.Tensor:
        """The weight (out, in) in `dtype` (None: the scale's), rounded once."""
        rows, columns = self.values.shape
        height, width = self.block
        scale = self.scale.float()
        if height > 1:
            factors = scale.repeat_interleave(width, 1)[:, :columns]
            weight = self.values.float()
            for index in range(len(factors)):
                weight[index * height : (index + 1) * height].mul_(factors[index])
        else:
            groups = scale.shape[1]
            weight = self.values.float().view(rows, groups, columns // groups).mul_(scale[:, :, None])
        return weight.view(rows, columns).to(dtype or self.scale.dtype)
