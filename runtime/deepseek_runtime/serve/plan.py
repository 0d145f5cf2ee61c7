"""What one iteration computes: made by the scheduler on rank 0, replayed by every rank. No torch."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Prefill:
    """`count` tokens of one sequence from `start` of the flat dimension, after `context` tokens in the cache."""

    start: int
    count: int
    context: int
    blocks: Indices


@dataclass(frozen=True, slots=True)
class Plan:
    """All tokens in one flat dimension: single tokens first, longest sequence first, then the chunks of `prefills`."""

    tokens: Indices  # (n)
    positions: Indices  # (n)
    slots: Indices  # (n) where each token's cache entry goes
    decode_blocks: Indices  # (decodes, most blocks), padded with block 0
    decode_lengths: Indices  # (decodes) tokens that each sees, its own included; descending
    prefills: tuple[Prefill, ...]
    emit: Indices  # flat indices whose logits are wanted
