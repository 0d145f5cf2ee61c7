"""Which tokens each step learns from: a pure function of the step, so a resumed run needs no position to be saved."""

import numpy as np
from numpy.typing import NDArray

from deepseek_runtime.job.errors import DataError


class Windows:
    """A stream of tokens cut into windows of `length` + 1 tokens, each met once in an epoch, in an order of its own.

    Neighbours share one token: the last one that a window predicts is the first one that the next sees. Every second
    row begins with `bos` instead, as prompts do; the others begin anywhere, as the later windows of a long text do.
    """

    def __init__(self, tokens: NDArray[np.unsignedinteger], bos: int, length: int, batch: int, seed: int) -> None:
        self.tokens, self.bos, self.length, self.batch, self.seed = tokens, bos, length, batch, seed
        self.count = (len(tokens) - 1) // length
        if self.count < 1:
            raise DataError(
                "TextTooShort",
                f"The text has {len(tokens)} tokens, one sequence needs {length + 1}. Give more text or a smaller "
                "sequenceLength.",
            )
        self._epoch = -1
        self._order: NDArray[np.intp] = np.empty(0, dtype=np.intp)

    def indices(self, step: int) -> list[int]:
        """The windows of the batch of this step, counted from 0."""
        return [self._index(sample) for sample in range(step * self.batch, (step + 1) * self.batch)]

    def rows(self, step: int, share: int = 0, shares: int = 1) -> NDArray[np.int64]:
        """One share of the batch: batch / shares rows of `length` + 1 tokens. Together the shares are the batch."""
        size = self.batch // shares
        first = step * self.batch + share * size
        return np.stack([self._row(sample) for sample in range(first, first + size)])

    def _row(self, sample: int) -> NDArray[np.int64]:
        start = self._index(sample) * self.length
        row = self.tokens[start : start + self.length + 1].astype(np.int64)
        return np.concatenate(([self.bos], row[:-1])) if sample % 2 else row

    def _index(self, sample: int) -> int:
        epoch, position = divmod(sample, self.count)
        if epoch != self._epoch:
            self._order = np.random.default_rng([self.seed, epoch]).permutation(self.count)
            self._epoch = epoch
        return int(self._order[position])
