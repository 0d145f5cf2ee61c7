"""Where a mixture-of-experts model sends the tokens of a text: how many each expert gets, in each layer."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from deepseek_runtime.evaluate.windows import Window
from deepseek_runtime.models.router import ExpertLoad
from deepseek_runtime.wire.result import Routing

FILE = "routing.json"
"""The whole table, sealed beside the result, which has room for the summary only."""

_LAYER = re.compile(r"\.layers\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Load(ExpertLoad):
    """Of the experts of one layer."""

    layer: int


class RoutingMeter:
    """Counts what the model's routers choose for scored tokens; a model without experts has none and counts nothing."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._layers: list[int] = []
        self._counts: list[torch.Tensor] = []
        self._scored: torch.Tensor | None = None
        for name, module in model.named_modules():
            if hasattr(module, "experts") and isinstance(router := getattr(module, "gate", None), nn.Module):
                match = _LAYER.search(f".{name}.")
                self._layers.append(int(match[1]) if match else len(self._layers))
                self._counts.append(torch.zeros(len(router.weight), dtype=torch.int64, device=model.device))  # type: ignore[arg-type]
                router.register_forward_hook(self._counter(self._counts[-1]))

    def expect(self, batch: Sequence[Window]) -> None:
        """The batch that comes next: padding, and what an earlier window has scored, are not counted."""
        longest = max(len(window.tokens) for window in batch)
        scored = torch.zeros(len(batch), longest, dtype=torch.bool)
        for row, window in enumerate(batch):
            scored[row, window.first : len(window.tokens)] = True
        self._scored = scored.flatten()

    def loads(self) -> list[Load]:
        """What was counted, layer by layer."""
        return [Load(tuple(counts.tolist()), layer) for layer, counts in zip(self._layers, self._counts, strict=True)]

    def _counter(self, counts: torch.Tensor) -> Any:
        def count(_module: nn.Module, _arguments: Any, output: tuple[torch.Tensor, ...]) -> None:
            chosen = output[2]  # (logits, weights, chosen experts) of every token
            if self._scored is not None:
                chosen = chosen[self._scored.to(chosen.device)]
            counts.add_(torch.bincount(chosen.flatten(), minlength=len(counts)))

        return count


def summary(loads: Sequence[Load]) -> Routing | None:
    """What fits into a status; None for a model without experts."""
    if not loads:
        return None
    balances = [load.max_to_mean for load in loads]
    return Routing(
        layers=len(loads),
        experts=len(loads[0].tokens),
        max_to_mean=max(balances),
        mean_max_to_mean=sum(balances) / len(balances),
        dead_experts=sum(load.dead for load in loads),
    )


def table(loads: Sequence[Load]) -> str:
    """All that was counted, as JSON."""
    layers = [
        {
            "layer": load.layer,
            "maxToMean": round(load.max_to_mean, 4),
            "deadExperts": load.dead,
            "tokensPerExpert": load.tokens,
        }
        for load in loads
    ]
    return json.dumps({"version": 1, "layers": layers}) + "\n"
