"""GPTQ over the layers of a model: what it needs to know of each linear layer's inputs, in bounded memory.

A layer's own linear layers are observed together. Its experts are worked off one by one: kept are the inputs of all of
them and where each token went, and of one expert at a time the Hessian. An expert's down projection is calibrated with
what its quantized gate and up projections give.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from deepseek_runtime.quantize import gptq
from deepseek_runtime.quantize.calibrated import Calibrated, Figures, Rounding
from deepseek_runtime.quantize.formats.weight import QuantizedWeight
from deepseek_runtime.quantize.layerwise import Decoder, LoadedLayer
from deepseek_runtime.quantize.rounding import Levels
from deepseek_runtime.quantize.separate_experts import SeparateExperts

MIN_TOKENS = 64
"""An expert that got fewer is rounded to nearest: too few directions are known to make up for errors in the others."""


class Gptq:
    """Rounds each layer with the Hessians of the inputs that its quantized predecessors give it."""

    def __init__(self, round_weight: Rounding, levels: Levels) -> None:
        self._round = round_weight
        self._low, self._high = int(levels.low), int(levels.high)

    def quantize(
        self, decoder: Decoder, layer: LoadedLayer, modules: Mapping[str, nn.Linear], figures: Figures
    ) -> Iterator[tuple[str, Calibrated]]:
        """Every module of the layer, experts last."""
        found = [(name, part) for name, part in layer.module.named_modules() if isinstance(part, SeparateExperts)]
        prefix = f"model.layers.{layer.index}."
        inside = {f"{prefix}{name}.{inner}" for name, part in found for inner, _ in part.named_modules()}
        plain = {name: module for name, module in modules.items() if name not in inside}
        hessians = {name: _Hessian() for name in plain}
        hooks = [plain[name].register_forward_pre_hook(hessian) for name, hessian in hessians.items()]
        experts = [(f"{prefix}{name}", part, _Routed()) for name, part in found if inside & modules.keys()]
        hooks += [part.register_forward_pre_hook(routed) for _, part, routed in experts]
        decoder.observe(layer)
        for hook in hooks:
            hook.remove()
        for name, module in plain.items():
            yield name, self._module(name, module, hessians[name].value, figures)
        for name, part, routed in experts:
            for number, expert in enumerate(part.children()):
                yield from self._expert(f"{name}.{number}", expert, routed.inputs(number), figures)

    def _expert(
        self, name: str, expert: Any, inputs: torch.Tensor, figures: Figures
    ) -> Iterator[tuple[str, Calibrated]]:
        enough = len(inputs) >= MIN_TOKENS
        hessian = gptq.hessian(inputs) if enough else None
        for kind in ("gate_proj", "up_proj", "down_proj"):
            figures.count_expert(f"{name}.{kind}", len(inputs), enough=enough)
            if kind == "down_proj" and enough:
                hessian = gptq.hessian(expert.inner(inputs))
            yield f"{name}.{kind}", self._module(f"{name}.{kind}", getattr(expert, kind), hessian, figures)

    def _module(self, name: str, module: nn.Linear, hessian: torch.Tensor | None, figures: Figures) -> Calibrated:
        nearest = self._round(name, module.weight)
        weight = nearest
        if hessian is not None:
            levels = gptq.quantize(module.weight, hessian, nearest.scale, self._low, self._high)
            if levels is None:
                figures.uninvertible += 1
            else:
                weight = QuantizedWeight(levels, nearest.scale, nearest.block)
        module.weight.data = weight.dequantize(module.weight.dtype)
        return Calibrated(weight)


class _Hessian:
    """Adds up over batches."""

    def __init__(self) -> None:
        self.value: torch.Tensor | None = None

    def __call__(self, _module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        """A forward pre-hook."""
        more = gptq.hessian(arguments[0])
        self.value = more if self.value is None else self.value.add_(more)


class _Routed:
    """Keeps the inputs of a layer's experts, and where each went."""

    def __init__(self) -> None:
        self._seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __call__(self, _module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        """A forward pre-hook."""
        self._seen.append((arguments[0], arguments[1]))

    def inputs(self, expert: int) -> torch.Tensor:
        """(n, hidden) of the tokens that the expert got."""
        return torch.cat([x[(chosen == expert).any(-1)] for x, chosen in self._seen])
