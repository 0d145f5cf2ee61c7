"""The learning rate of each step."""

import math

from deepseek_runtime.wire.job import Hyperparameters


def learning_rate(step: int, steps: int, hyperparameters: Hyperparameters) -> float:
    """The rate of step number `step`, counted from 0, of `steps`.

    Linear warm-up to the full rate, then half a cosine to the least one, which the last step has (Loshchilov and
    Hutter, SGDR, arXiv 1608.03983).
    """
    full, warmup = hyperparameters.learning_rate, hyperparameters.warmup_steps
    if step < warmup:
        return full * (step + 1) / warmup
    least = full * hyperparameters.min_learning_rate_ratio
    done = (step - warmup) / max(1, steps - 1 - warmup)
    return least + (full - least) * (1 + math.cos(math.pi * done)) / 2
