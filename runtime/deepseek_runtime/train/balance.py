"""Keeps the routed experts equally busy without a loss of its own.

After each step the bias that a router adds to an expert's score, only to choose and not to weigh, goes up by a fixed
speed where the expert had less than the mean load and down where it had more (Wang et al., arXiv 2408.15664;
DeepSeek-V3 Technical Report, arXiv 2412.19437, section 2.1.2). DeepSeek-V2's routers have no such bias: they are left
alone, and no balance loss is added for them either.
"""

from typing import Any

import torch
from torch import nn

from deepseek_runtime.train.team import Team

SPEED = 0.001
"""Of DeepSeek-V3's pre-training."""

BIAS = "e_score_correction_bias"


class ExpertBalance:
    """Counts how many tokens each expert gets, and moves the biases after the step.

    `counted` says which tokens are no padding, until the step; None: all.
    """

    def __init__(self, model: nn.Module) -> None:
        self.biases: list[torch.Tensor] = []
        self.loads: list[torch.Tensor] = []
        self.counted: torch.Tensor | None = None
        for module in model.modules():
            bias = getattr(module, BIAS, None)
            if isinstance(bias, torch.Tensor):
                self.biases.append(bias)
                self.loads.append(torch.zeros_like(bias, dtype=torch.float32))
                module.register_forward_hook(self._counter(self.loads[-1]))

    @torch.no_grad()
    def step(self, team: Team) -> None:
        """Move the biases by the load of all processes since the last call."""
        self.counted = None
        if not self.biases:
            return
        loads = team.sum(torch.stack(self.loads))
        moves = torch.sign(loads.mean(dim=1, keepdim=True) - loads) * SPEED
        for bias, load, move in zip(self.biases, self.loads, moves, strict=True):
            bias.add_(move.to(bias.dtype))
            load.zero_()

    def _counter(self, load: torch.Tensor) -> Any:
        def count(_module: nn.Module, _arguments: Any, output: tuple[torch.Tensor, ...]) -> None:
            chosen = output[2]  # (logits, weights, chosen experts) of every token
            if self.counted is not None:
                chosen = chosen[self.counted.flatten()]
            load.add_(torch.bincount(chosen.flatten(), minlength=len(load)))

        return count
