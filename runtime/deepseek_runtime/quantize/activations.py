"""Activations rounded to int8, as engines round them that multiply in int8."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from deepseek_runtime.quantize import declared
from deepseek_runtime.quantize.formats.registry import weight_name
from deepseek_runtime.quantize.separate_experts import separate
from deepseek_runtime.weights import safety
from deepseek_runtime.weights.stored import StoredWeights

LARGEST = 127
Hook = Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Range:
    """What calibration saw of one layer's inputs: their largest magnitude, and the mean over tokens of each one's."""

    tokens: int
    largest: float
    mean: float

    @property
    def scale(self) -> float:
        """Of int8 levels that reach the largest magnitude."""
        return self.largest / LARGEST if self.largest > 0 else 1.0

    @property
    def outlier(self) -> float:
        """How far the largest lies beyond what is usual: so much of the levels' range is spent on it."""
        return self.largest / self.mean if self.mean > 0 else 1.0


class RangeObserver:
    """Watches the inputs of a linear layer.

    The range is that of the largest input and no percentile of it: on a trained mixture-of-experts model of 1.9 M
    parameters cutting at any percentile from 99 to 99.99 changed the perplexity by less than 0.02 %, while in large
    models the few largest activations are those that must not be cut (Sun et al. 2024, arXiv 2402.17762).
    """

    def __init__(self) -> None:
        self._tokens, self._largest, self._sum = 0, 0.0, 0.0

    def __call__(self, _module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        """A forward pre-hook."""
        largest = arguments[0].reshape(-1, arguments[0].shape[-1]).abs().amax(-1).float()
        if len(largest):
            self._tokens += len(largest)
            self._largest = max(self._largest, float(largest.max()))
            self._sum += float(largest.double().sum())

    def range(self) -> Range:
        """Of what was seen until now."""
        return Range(self._tokens, self._largest, self._sum / max(self._tokens, 1))


def by_scale(x: torch.Tensor, scale: float) -> torch.Tensor:
    """Numbers rounded to int8 levels of this scale; those beyond the last level become it."""
    return (x / scale).round_().clamp_(-LARGEST, LARGEST).mul_(scale)


def per_token(x: torch.Tensor) -> torch.Tensor:
    """Tokens (..., in), each rounded to int8 levels that reach its largest magnitude."""
    scale = (x.abs().amax(-1, keepdim=True) / LARGEST).clamp_min(torch.finfo(x.dtype).tiny)
    return (x / scale).round_().mul_(scale)


def rounder(scale: float) -> Hook:
    """A forward pre-hook that rounds a layer's inputs to int8 levels of this scale."""

    def round_inputs(_module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return (by_scale(arguments[0], scale), *arguments[1:])

    return round_inputs


def round_per_token(_module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """A forward pre-hook that rounds each token of a layer's inputs to int8 levels of its own."""
    return (per_token(arguments[0]), *arguments[1:])


def install(model: PreTrainedModel, directory: Path) -> None:
    """Let a model that was loaded from a W8A8 directory compute as engines do that multiply its weights in int8.

    Of other directories nothing is changed. Experts are then computed one by one: each has an input scale of its own.
    """
    how = declared.activations(safety.read_json(directory / safety.CONFIG))
    if how is None:
        return
    config: Any = model.config
    for module in model.modules():
        if getattr(module, "experts", None) is not None and hasattr(module.experts, "gate_up_proj"):
            module.experts = separate(module.experts, config)
    with StoredWeights(directory) as stored:
        for name, module in model.named_modules():
            if (
                isinstance(module, nn.Linear)
                and weight_name(name) in stored
                and stored.dtype(weight_name(name)) is None
            ):
                hook: Hook = round_per_token
                if how == "static":
                    hook = rounder(stored.input_scale(name))
                module.register_forward_pre_hook(hook)
