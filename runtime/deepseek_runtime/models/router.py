"""The softmax gate of mixture-of-experts models, and the load that it puts on their experts."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 torch's own convention
from torch import nn
from transformers import PreTrainedModel
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2TopkRouter

from deepseek_runtime.job.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class ExpertLoad:
    """Tokens that each expert of one gate got."""

    tokens: tuple[int, ...]

    @property
    def max_to_mean(self) -> float:
        """How much busier the busiest expert is than the average: 1 is perfect balance, also of no tokens at all."""
        total = sum(self.tokens)
        return max(self.tokens) * len(self.tokens) / total if total else 1.0

    @property
    def dead(self) -> int:
        """Experts that got no token."""
        return self.tokens.count(0)


class DynamicRouter(nn.Module):
    """Sends each token to the `top_k` experts that a softmax over all of them likes best.

    DeepSeek-V2's gate (arXiv 2405.04434, section 2.1.2): scores in float32, optionally only experts of the
    `top_groups` groups with the best expert; weights are the chosen scores times `scale`, or with `normalized` their
    shares of the chosen ones' sum. The gate counts what it gives each expert: `load` tells, `reset_load` forgets.
    It takes the place of transformers' gate: same parameter, same answer. Errors: ConfigurationError `InvalidConfig`.
    """

    tokens_per_expert: torch.Tensor

    def __init__(
        self,
        input_dim: int,
        num_experts: int,
        top_k: int = 2,
        *,
        normalized: bool = True,
        scale: float = 1.0,
        groups: int = 1,
        top_groups: int = 1,
    ) -> None:
        super().__init__()
        if min(input_dim, num_experts, groups) < 1 or num_experts % groups:
            raise ConfigurationError(
                "InvalidConfig",
                f"input_dim {input_dim}, num_experts {num_experts} and groups {groups} must be positive, and groups "
                "must divide num_experts.",
            )
        if not 1 <= top_groups <= groups or not 1 <= top_k <= num_experts // groups * top_groups:
            raise ConfigurationError(
                "InvalidConfig",
                f"top_k {top_k} of {num_experts} experts cannot be chosen from top_groups {top_groups} of {groups}.",
            )
        self.top_k, self.normalized, self.scale = top_k, normalized, scale
        self.groups, self.top_groups = groups, top_groups
        self.weight = nn.Parameter(torch.empty(num_experts, input_dim))
        self.register_buffer("tokens_per_expert", torch.zeros(num_experts, dtype=torch.int64), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Random weights whose logits have about unit variance for inputs that have."""
        nn.init.normal_(self.weight, std=1 / math.sqrt(self.weight.shape[1]))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Tokens (..., input_dim) to logits (n, experts), weights (n, top_k) and chosen experts (n, top_k)."""
        x = x.reshape(-1, x.shape[-1])
        logits = F.linear(x.float(), self.weight.float())
        scores = logits.softmax(-1)
        if self.top_groups < self.groups:
            grouped = scores.view(len(x), self.groups, -1)
            best = grouped.amax(-1).topk(self.top_groups, -1, sorted=False)[1]
            kept = torch.zeros_like(grouped[..., 0]).scatter_(1, best, 1.0)
            scores = (grouped * kept[..., None]).flatten(1)
        weights, chosen = scores.topk(self.top_k, -1, sorted=False)
        if self.normalized:
            weights = weights / weights.sum(-1, keepdim=True).clamp_min(1e-20)
        with torch.no_grad():
            self.tokens_per_expert += torch.bincount(chosen.flatten(), minlength=len(self.tokens_per_expert))
        return logits, weights * self.scale, chosen

    @property
    def load(self) -> ExpertLoad:
        """Tokens of each expert since the last reset."""
        return ExpertLoad(tuple(self.tokens_per_expert.tolist()))

    def reset_load(self) -> None:
        """Count from nothing."""
        self.tokens_per_expert.zero_()


def install(model: PreTrainedModel) -> None:
    """Give a DeepSeek-V2 model's layers gates that count, with the weights they have; other models have none to change.

    Training and evaluation both begin here, so a collapse of the routing can be seen wherever a model is run.
    """
    for module in model.modules():
        if isinstance(getattr(module, "gate", None), DeepseekV2TopkRouter):
            module.gate = _like(module.gate)


def _like(gate: Any) -> DynamicRouter:
    limited = gate.topk_method == "group_limited_greedy"
    with torch.device(gate.weight.device):
        router = DynamicRouter(
            gate.hidden_dim,
            gate.num_experts,
            gate.top_k,
            normalized=False,
            scale=gate.routed_scaling_factor,
            groups=gate.num_group if limited else 1,
            top_groups=gate.topk_group if limited else 1,
        )
    router.weight = gate.weight
    return router
