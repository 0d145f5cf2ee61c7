"""Which rows each step sees: a pure function of the step, so a resumed run needs no position to be saved."""

import math

import numpy as np
from numpy.typing import NDArray


class Order:
    """Rows are met once in an epoch, each epoch in an order of its own; `batch` of them make a step.

    Ends after `steps`, or after whole `epochs`: then the last step may have fewer rows than the others. Exactly one of
    the two is given.
    """

    def __init__(
        self, rows: int, batch: int, seed: int, *, steps: int | None = None, epochs: int | None = None
    ) -> None:
        self.rows, self.batch, self.seed = rows, batch, seed
        self._last = steps * batch if steps is not None else rows * (epochs or 0)
        self.steps = math.ceil(self._last / batch)
        self.rows_per_step = self._last / self.steps  # on average
        self._epoch = -1
        self._order: NDArray[np.intp] = np.empty(0, dtype=np.intp)

    def samples(self, step: int, share: int = 0, shares: int = 1) -> range:
        """The samples of one share of a step's batch, counted from the beginning of the run."""
        size = self.batch // shares
        first = step * self.batch + share * size
        return range(first, first + size)

    def row(self, sample: int) -> int | None:
        """The row that this sample is; None after the end."""
        if sample >= self._last:
            return None
        epoch, position = divmod(sample, self.rows)
        if epoch != self._epoch:
            self._order = np.random.default_rng([self.seed, epoch]).permutation(self.rows)
            self._epoch = epoch
        return int(self._order[position])
