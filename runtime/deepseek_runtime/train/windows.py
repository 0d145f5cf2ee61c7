"""Plain text as rows of one length: what pretraining learns from."""

import numpy as np
import torch
from numpy.typing import NDArray

from deepseek_runtime.train.batch import IGNORED, Batch
from deepseek_runtime.train.order import Order


class Windows:
    """A stream of tokens cut into windows of `length` + 1 tokens, each met once in an epoch, in an order of its own.

    There is at least one. Neighbours share one token: the last one that a window predicts is the first one that the
    next sees. Every second row begins with `bos` instead, as prompts do; the others begin anywhere, as the later
    windows of a long text do.
    """

    def __init__(
        self,
        tokens: NDArray[np.unsignedinteger],
        bos: int,
        length: int,
        batch: int,
        seed: int,
        *,
        steps: int | None = None,
        epochs: int | None = None,
    ) -> None:
        self.tokens, self.bos, self.length = tokens, bos, length
        self.examples = None
        self.order = Order((len(tokens) - 1) // length, batch, seed, steps=steps, epochs=epochs)
        self.steps = self.order.steps
        self.tokens_per_step = self.order.rows_per_step * length

    def batch(self, step: int, share: int = 0, shares: int = 1) -> Batch:
        """One share of the batch. Rows after the last epoch are padding."""
        order = self.order
        rows = torch.from_numpy(np.stack([self._row(sample) for sample in order.samples(step, share, shares)]))
        inputs, targets = rows[:, :-1], rows[:, 1:]
        there = sum(order.row(sample) is not None for sample in order.samples(step))
        if there == order.batch:
            return Batch(inputs, targets, there * self.length)
        filled = torch.tensor([[order.row(sample) is not None] for sample in order.samples(step, share, shares)])
        targets = targets.masked_fill(~filled, IGNORED)
        return Batch(inputs, targets, there * self.length, filled=filled.expand_as(inputs))

    def _row(self, sample: int) -> NDArray[np.int64]:
        index = self.order.row(sample)
        if index is None:
            return np.full(self.length + 1, self.bos, dtype=np.int64)
        start = index * self.length
        row = self.tokens[start : start + self.length + 1].astype(np.int64)
        return np.concatenate(([self.bos], row[:-1])) if sample % 2 else row
