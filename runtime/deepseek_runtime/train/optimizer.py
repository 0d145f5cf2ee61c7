"""AdamW as DeepSeek-V3 and most other language models use it."""

import torch
from torch import nn

from deepseek_runtime.wire.job import Hyperparameters


def adamw(model: nn.Module, hyperparameters: Hyperparameters) -> torch.optim.AdamW:
    """Decoupled weight decay of matrices only: norms and biases have none. Both moments are float32 as the weights."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [one for one in parameters if one.ndim >= 2], "weight_decay": hyperparameters.weight_decay},
        {"params": [one for one in parameters if one.ndim < 2], "weight_decay": 0.0},
    ]
    betas = (hyperparameters.beta1, hyperparameters.beta2)
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=hyperparameters.learning_rate, betas=betas, fused=True
    )
