"""Rotary position embedding (arXiv:2104.09864); tables, YaRN included, come from transformers' modules."""

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Rotary:
    """One complex factor for each position and pair of dimensions: (positions, dim / 2).

    `interleaved`: pairs are neighbours (DeepSeek's layout) instead of halves (Llama's).
    """

    table: torch.Tensor
    interleaved: bool

    @classmethod
    def of(cls, module: Any, positions: int, interleaved: bool, device: torch.device) -> "Rotary":
        """The factors that a transformers rotary module gives: complex ones (V2), or cosines and sines (V3, Llama)."""
        result = module(torch.zeros(1), torch.arange(positions)[None])
        if isinstance(result, tuple):
            half = result[0].shape[-1] // 2
            table = torch.complex(result[0][0, :, :half].float(), result[1][0, :, :half].float())
        else:
            table = result[0].to(torch.complex64)
        return cls(table.to(device), interleaved)

    def rotate(self, x: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        """x (tokens, heads, dim) turned by factors (tokens, 1, dim / 2), in fp32."""
        half = x.shape[-1] // 2
        if self.interleaved:
            pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], half, 2))
            return torch.view_as_real(pairs * factors).flatten(-2).to(x.dtype)
        a, b = x[..., :half].float(), x[..., half:].float()
        cos, sin = factors.real, factors.imag
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)
