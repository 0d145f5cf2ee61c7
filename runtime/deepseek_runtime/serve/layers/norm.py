"""Root-mean-square normalisation (arXiv:1910.07467)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 torch's own convention


@dataclass(frozen=True, slots=True)
class RmsNorm:
    """x / rms(x) * weight over the last dimension."""

    weight: torch.Tensor
    epsilon: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Same shape."""
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.epsilon)
