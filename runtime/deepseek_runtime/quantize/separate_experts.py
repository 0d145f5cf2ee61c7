"""Routed experts as checkpoints name them: one linear layer for each projection, so that each can be observed."""

from typing import Any

import torch
from torch import nn
from transformers.activations import ACT2FN


class SeparateExperts(nn.Module):
    """Takes the place of transformers' module, which holds all experts as two tensors."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        for expert in range(config.n_routed_experts):
            self.add_module(str(expert), _Expert(config.hidden_size, config.moe_intermediate_size, config.hidden_act))

    def forward(self, x: torch.Tensor, chosen: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Tokens (n, hidden), their experts (n, k) and the experts' weights (n, k), to (n, hidden)."""
        result = torch.zeros_like(x)
        for number, expert in enumerate(self.children()):
            tokens, places = torch.where(chosen == number)
            if len(tokens):
                result.index_add_(0, tokens, expert(x[tokens]) * weights[tokens, places, None].to(x.dtype))
        return result


class _Expert(nn.Module):
    def __init__(self, hidden: int, intermediate: int, activation: str) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden, intermediate, bias=False)
        self.up_proj = nn.Linear(hidden, intermediate, bias=False)
        self.down_proj = nn.Linear(intermediate, hidden, bias=False)
        self.activation = ACT2FN[activation]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, hidden) to (n, hidden)."""
        result: torch.Tensor = self.down_proj(self.inner(x))
        return result

    def inner(self, x: torch.Tensor) -> torch.Tensor:
        """What the down projection is given: (n, hidden) to (n, intermediate)."""
        result: torch.Tensor = self.activation(self.gate_proj(x)) * self.up_proj(x)
        return result


def separate(fused: Any, config: Any) -> SeparateExperts:
    """The experts of a loaded model, sharing the memory of their weights."""
    with torch.device("meta"):
        experts = SeparateExperts(config)
    state: dict[str, torch.Tensor] = {}
    for number, (gate_up, down) in enumerate(zip(fused.gate_up_proj, fused.down_proj, strict=True)):
        gate, up = gate_up.chunk(2)
        state |= {
            f"{number}.gate_proj.weight": gate,
            f"{number}.up_proj.weight": up,
            f"{number}.down_proj.weight": down,
        }
    experts.load_state_dict(state, assign=True)
    return experts.requires_grad_(False)
