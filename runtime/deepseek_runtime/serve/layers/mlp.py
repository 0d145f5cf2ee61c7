"""The feed-forward half of a layer: a gated MLP, beside routed experts where the layer has them."""

from dataclasses import dataclass

import torch

from deepseek_runtime.serve.layers.experts import Experts, swiglu
from deepseek_runtime.serve.layers.linear import Projection
from deepseek_runtime.serve.shard import Shard


@dataclass(frozen=True, slots=True)
class FeedForward:
    """`gate_up` and `down` are the dense MLP or the shared experts."""

    gate_up: Projection
    down: Projection
    experts: Experts | None
    shard: Shard

    def __call__(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """residual + MLP(x) (+ experts(x)), all (tokens, hidden); the sum is fused into the last product."""
        routed = None if self.experts is None else self.experts(x)
        hidden = swiglu(self.gate_up(x))
        if self.shard.world > 1:
            return self.shard.all_reduce(self.down(hidden, add=routed)) + residual
        return self.down(hidden, add=residual if routed is None else routed + residual)


@dataclass(frozen=True, slots=True)
class ExpertsOnly:
    """Of a layer whose shared expert is one of `experts`."""

    experts: Experts
    shard: Shard

    def __call__(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """residual + experts(x), all (tokens, hidden)."""
        return self.shard.all_reduce(self.experts(x)) + residual
