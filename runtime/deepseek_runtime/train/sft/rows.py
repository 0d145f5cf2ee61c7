"""Rows of several examples each: what fine-tuning learns from."""

import numpy as np
import torch
from numpy.typing import NDArray

from deepseek_runtime.train.batch import IGNORED, Batch
from deepseek_runtime.train.order import Order
from deepseek_runtime.train.sft.examples import Store
from deepseek_runtime.train.sft.packing import pack


class Rows:
    """Examples packed into rows of at most `length` tokens, each row met once in an epoch.

    The last token of an example is only predicted, so it takes no place. `filling` is the token of empty places.
    """

    def __init__(
        self,
        store: Store,
        filling: int,
        length: int,
        batch: int,
        seed: int,
        *,
        steps: int | None = None,
        epochs: int | None = None,
    ) -> None:
        self.store, self.filling, self.length = store, filling, length
        self.examples = store.found
        places = store.lengths() - 1
        self.rows = pack(places.tolist(), length, seed)
        self.order = Order(len(self.rows), batch, seed, steps=steps, epochs=epochs)
        self.steps = self.order.steps
        self.tokens_per_step = float(places.sum()) / len(self.rows) * self.order.rows_per_step
        learned = np.add.reduceat(store.answers, np.concatenate(([0], store.ends[:-1])), dtype=np.int64)
        self._learned = [int(learned[row].sum()) for row in self.rows]

    def batch(self, step: int, share: int = 0, shares: int = 1) -> Batch:
        """One share of the batch. Positions begin anew with each example, and with the padding behind the last."""
        samples = self.order.samples(step, share, shares)
        inputs, targets, positions, filled = zip(
            *(self._row(self.order.row(sample)) for sample in samples), strict=True
        )
        whole = [self.order.row(sample) for sample in self.order.samples(step)]
        return Batch(
            torch.from_numpy(np.stack(inputs)),
            torch.from_numpy(np.stack(targets)),
            sum(self._learned[row] for row in whole if row is not None),
            torch.from_numpy(np.stack(positions)),
            torch.from_numpy(np.stack(filled)),
        )

    def _row(
        self, row: int | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        inputs = np.full(self.length, self.filling, dtype=np.int64)
        targets = np.full(self.length, IGNORED, dtype=np.int64)
        positions = np.zeros(self.length, dtype=np.int64)
        at, store = 0, self.store
        for example in self.rows[row] if row is not None else ():
            first = store.ends[example - 1] if example else 0
            tokens = store.tokens[first : store.ends[example]].astype(np.int64)
            answers = store.answers[first + 1 : store.ends[example]]
            end = at + len(answers)
            inputs[at:end] = tokens[:-1]
            targets[at:end] = np.where(answers, tokens[1:], IGNORED)
            positions[at:end] = np.arange(end - at)
            at = end
        positions[at:] = np.arange(self.length - at)
        return inputs, targets, positions, np.arange(self.length) < at
