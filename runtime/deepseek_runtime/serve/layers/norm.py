"""Root-mean-square normalisation (arXiv:1910.07467)."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 torch's own convention


class RmsNorm:
    """x / rms(x) * weight over the last dimension, in fp32, rounded once.

    On the CPU torch composes it of eight kernels. Here are four: with the norm |x| of a row of d numbers, its root mean
    square is hypot(|x|, sqrt(d * epsilon)) / sqrt(d).
    """

    def __init__(self, weight: torch.Tensor, epsilon: float) -> None:
        self.weight = weight
        self.epsilon = epsilon
        self.root = torch.tensor(math.sqrt(len(weight) * epsilon), device=weight.device)
        self.gain = weight.float() * math.sqrt(len(weight))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Same shape and dtype."""
        if x.device.type == "cuda":
            return F.rms_norm(x, (x.shape[-1],), self.weight, self.epsilon)
        norm: torch.Tensor = torch.linalg.vector_norm(x, 2, -1, keepdim=True, dtype=torch.float32)
        return (x / norm.hypot_(self.root)).mul_(self.gain).to(x.dtype)
