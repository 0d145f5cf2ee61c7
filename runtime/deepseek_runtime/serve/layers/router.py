"""Which experts a token goes to, and with what weight: DeepSeek-V2 (arXiv:2405.04434) and V3 (arXiv:2412.19437).

Always in fp32: in bfloat16 ties between experts would fall another way.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812 torch's own convention

Routes = tuple[torch.Tensor, torch.Tensor]
"""Chosen experts (tokens, k) and their weights (tokens, k)."""


class Router(Protocol):
    """Maps tokens (n, hidden) to routes."""

    def __call__(self, x: torch.Tensor) -> Routes:
        """The experts of each token."""
        ...


@dataclass(frozen=True, slots=True)
class SoftmaxRouter:
    """V2: softmax scores, optionally limited to the groups with the best expert."""

    weight: torch.Tensor
    config: Any

    def __call__(self, x: torch.Tensor) -> Routes:
        """The experts of each token."""
        c = self.config
        scores = F.linear(x.float(), self.weight).softmax(-1)
        if c.topk_method == "group_limited_greedy":
            groups = scores.view(len(x), c.n_group, -1).amax(-1)
            scores = _keep_groups(scores, groups, c.topk_group, 0.0)
        weights, experts = scores.topk(c.num_experts_per_tok, -1, sorted=False)
        return experts, weights * c.routed_scaling_factor


@dataclass(frozen=True, slots=True)
class SigmoidRouter:
    """V3: sigmoid scores; the correction bias balances the choice and never enters the weights."""

    weight: torch.Tensor
    correction_bias: torch.Tensor
    config: Any

    def __call__(self, x: torch.Tensor) -> Routes:
        """The experts of each token."""
        c = self.config
        scores = F.linear(x.float(), self.weight).sigmoid()
        choice = scores + self.correction_bias
        if c.n_group > 1:
            groups = choice.view(len(x), c.n_group, -1).topk(2, -1)[0].sum(-1)
            choice = _keep_groups(choice, groups, c.topk_group, float("-inf"))
        experts = choice.topk(c.num_experts_per_tok, -1, sorted=False)[1]
        weights = scores.gather(1, experts)
        if c.norm_topk_prob:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return experts, weights * c.routed_scaling_factor


@dataclass(frozen=True, slots=True)
class AlsoShared:
    """The routes of another router, and for every token one of weight 1 to the expert after its last."""

    routed: Router
    shared: int

    def __call__(self, x: torch.Tensor) -> Routes:
        """The experts of each token."""
        experts, weights = self.routed(x)
        return F.pad(experts, (0, 1), value=self.shared), F.pad(weights, (0, 1), value=1.0)


def _keep_groups(scores: torch.Tensor, groups: torch.Tensor, keep: int, fill: float) -> torch.Tensor:
    best = groups.topk(keep, -1, sorted=False)[1]
    kept = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, best, True)
    return scores.view(*groups.shape, -1).masked_fill(~kept[..., None], fill).flatten(1)
