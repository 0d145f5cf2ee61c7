"""Which examples share a row."""

from bisect import bisect_left, insort
from collections.abc import Sequence

import numpy as np


def pack(lengths: Sequence[int], capacity: int, seed: int) -> list[list[int]]:
    """Rows of examples, by index: each in exactly one, no row longer than `capacity`; the same for the same seed.

    Best fit decreasing (Johnson, 1974; at most 11/9 of the fewest rows possible): the longest first, each into the row
    that it fills most. Equal lengths come in an order of the seed. Time: n log n. No length may exceed `capacity`.
    """
    order = np.random.default_rng(seed).permutation(len(lengths))
    order = order[np.argsort(-np.asarray(lengths, dtype=np.int64)[order], kind="stable")]
    rows: list[list[int]] = []
    spaces: list[int] = []  # that some row has left, ascending
    open_rows: dict[int, list[int]] = {}
    for example in order.tolist():
        length = lengths[example]
        at = bisect_left(spaces, length)
        if at == len(spaces):
            row, space = len(rows), capacity
            rows.append([])
        else:
            space = spaces[at]
            row = open_rows[space].pop()
            if not open_rows[space]:
                del open_rows[space], spaces[at]
        rows[row].append(example)
        if left := space - length:
            if left not in open_rows:
                open_rows[left] = []
                insort(spaces, left)
            open_rows[left].append(row)
    return rows
