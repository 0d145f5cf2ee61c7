"""Which modules of a model are quantized."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.models.families import CLASSES

EXPERT = re.compile(r"(.+\.mlp\.experts)\.\d+\.(?:gate|up|down)_proj")
"""A routed expert's projection; checkpoints name them one by one, whatever a model holds them as."""

HEAD = "lm_head"
"""The output layer: small beside the rest, and what is lost there is lost in every prediction."""


Scope = Literal["all", "experts"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Module names: those whose weight is quantized, and the linear ones that stay as they are."""

    quantized: frozenset[str]
    kept: frozenset[str]
    experts_only: bool = False

    @classmethod
    def nothing(cls) -> "Selection":
        """No weight is quantized."""
        return cls(frozenset(), frozenset())


def select(
    config: PretrainedConfig, tensors: Iterable[str], ignore: Sequence[str], scope: Scope | None = None
) -> Selection:
    """Every linear layer and every routed expert among the tensors, but the output layer and what `ignore` matches.

    `experts`: routed experts alone. Errors: ConfigurationError `InvalidConfig` for experts of a model without them, for
    a pattern that matches nothing, and for one that parts the experts of a layer: engines hold these as one tensor and
    cannot load a mixture.
    """
    with torch.device("meta"):
        model: PreTrainedModel = CLASSES[(config.architectures or [""])[0]](config)
    linear = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    modules = {name.removesuffix(".weight") for name in tensors if name.endswith(".weight")}
    everything = {name for name in modules if name in linear - {HEAD} or EXPERT.fullmatch(name)}
    experts = {name for name in everything if EXPERT.fullmatch(name)}
    if scope == "experts" and not experts:
        raise ConfigurationError("InvalidConfig", "scope is experts, but the model has none. Set it to all.")
    candidates = experts if scope == "experts" else everything
    ignored: set[str] = set()
    for pattern in ignore:
        matched = {name for name in candidates if fnmatchcase(name, pattern)}
        if not matched:
            raise ConfigurationError(
                "InvalidConfig",
                f"ignore: {pattern!r} matches no module that would be quantized, such as {min(candidates)}.",
            )
        ignored |= matched
    _check_experts(candidates - ignored, ignored)
    quantized = candidates - ignored
    return Selection(frozenset(quantized), frozenset(everything - quantized | ({HEAD} & modules)), scope == "experts")


def _check_experts(quantized: set[str], ignored: set[str]) -> None:
    parts: dict[str, set[bool]] = defaultdict(set)
    for kept, names in ((False, quantized), (True, ignored)):
        for name in names:
            if match := EXPERT.fullmatch(name):
                parts[match[1]].add(kept)
    for layer, kinds in sorted(parts.items()):
        if len(kinds) > 1:
            raise ConfigurationError(
                "InvalidConfig",
                f"ignore matches some experts of {layer} and not others; engines load them together. Use '{layer}.*'.",
            )
