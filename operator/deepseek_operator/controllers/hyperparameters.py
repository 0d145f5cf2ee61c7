"""What a stage learns with: what its spec says, and where it is silent what suits the stage's type."""

from collections.abc import Mapping
from typing import Any

from deepseek_runtime.wire.job import Hyperparameters

from deepseek_operator.api.trainingrun import StageSpec

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "pretrain": {"learning_rate": 3e-4, "warmup_steps": 100},
    "sft": {"learning_rate": 2e-5, "warmup_steps": 10},
}
"""Of the fields whose default depends on the type; `kubectl explain` repeats them."""


def hyperparameters(stage: StageSpec) -> Hyperparameters:
    """All of them."""
    given = stage.hyperparameters.model_dump(exclude_none=True)
    return Hyperparameters.model_validate({**DEFAULTS[stage.type], **given})
