"""What one step learns from, and the loss over it."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn.functional import cross_entropy

from deepseek_runtime.wire.progress import Examples

IGNORED = -100
"""A target that nothing is learned from."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One share of a step's batch; every tensor is rows x length.

    `targets` are what each of `inputs` is followed by, or IGNORED. `learned` counts the others in the whole batch, over
    all shares. `positions` begin with 0 where a text begins that must not see those before it in its row; None: each
    row is one text. `filled` tells tokens from padding; None: there is no padding.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    learned: int
    positions: torch.Tensor | None = None
    filled: torch.Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""

        def move(tensor: torch.Tensor | None) -> torch.Tensor | None:
            return None if tensor is None else tensor.to(device)

        inputs, targets = self.inputs.to(device), self.targets.to(device)
        return Batch(inputs, targets, self.learned, move(self.positions), move(self.filled))


class Batches(Protocol):
    """The batches of a whole stage."""

    @property
    def steps(self) -> int:
        """How many there are."""
        ...

    @property
    def tokens_per_step(self) -> float:
        """Tokens in a batch without padding, on average."""
        ...

    @property
    def examples(self) -> Examples | None:
        """What was found in the data, where it is made of examples."""
        ...

    def batch(self, step: int, share: int = 0, shares: int = 1) -> Batch:
        """One share of the batch of this step. Together the shares are the batch, however many there are."""
        ...


def loss(logits: torch.Tensor, batch: Batch, shares: int) -> torch.Tensor:
    """A share's part of the mean over all that the batch learns, so scaled that the mean over the shares is it.

    A token counts the same wherever it stands: not more in a short text, nor in a share with few of them.
    """
    found = cross_entropy(logits.float().flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED, reduction="sum")
    return found / (batch.learned / shares)
