"""Which windows of the text each step sees."""

from collections import Counter

import numpy as np
import torch
from deepseek_runtime.train.batch import IGNORED
from deepseek_runtime.train.windows import Windows
from hypothesis import given
from hypothesis import strategies as st

BOS = 60000


def windows(
    tokens: int, length: int = 4, batch: int = 4, seed: int = 0, steps: int | None = 10_000, epochs: int | None = None
) -> Windows:
    return Windows(np.arange(tokens, dtype=np.uint16), BOS, length, batch, seed, steps=steps, epochs=epochs)


def rows(data: Windows, step: int, share: int = 0, shares: int = 1) -> torch.Tensor:
    found = data.batch(step, share, shares)
    return torch.cat((found.inputs[:, :1], found.targets), dim=1)


@given(tokens=st.integers(5, 300), batch=st.integers(1, 8), seed=st.integers(0, 5))
def test_every_window_comes_once_in_an_epoch_and_each_epoch_has_its_own_order(
    tokens: int, batch: int, seed: int
) -> None:
    data = windows(tokens, batch=batch, seed=seed)
    order, count = data.order, data.order.rows
    steps = 3 * count  # of batch windows each: batch * 3 epochs
    seen = [order.row(sample) for step in range(steps) for sample in order.samples(step)]
    epochs = [tuple(seen[start : start + count]) for start in range(0, len(seen), count)]
    assert all(Counter(epoch) == Counter(range(count)) for epoch in epochs)
    if count > 20:
        assert len(set(epochs)) > 1


@given(step=st.integers(0, 500), shares=st.sampled_from([1, 2, 4]))
def test_shares_together_are_the_batch_whatever_was_asked_before(step: int, shares: int) -> None:
    whole = rows(windows(997), step)
    other = windows(997)
    other.batch(3)
    parts = torch.cat([rows(other, step, share, shares) for share in range(shares)])
    assert torch.equal(parts, whole)


def test_a_row_predicts_each_next_token_and_every_second_begins_like_a_prompt() -> None:
    found = rows(windows(21), 0)
    assert found.shape == (4, 5)
    assert (found[1::2, 0] == BOS).all()
    assert (found[1::2, 1] % 4 == 0).all()
    assert (found[::2, 0] % 4 == 0).all()
    assert (torch.diff(found[::2]) == 1).all()
    assert (torch.diff(found[1::2, 1:]) == 1).all()


@given(tokens=st.integers(5, 120), batch=st.integers(1, 8), epochs=st.integers(1, 3))
def test_whole_epochs_end_with_a_batch_that_is_filled_up(tokens: int, batch: int, epochs: int) -> None:
    data = windows(tokens, batch=batch, steps=None, epochs=epochs)
    batches = [data.batch(step) for step in range(data.steps)]
    learned = [int((found.targets != IGNORED).sum()) for found in batches]
    assert learned == [found.learned for found in batches]
    assert sum(learned) == data.order.rows * data.length * epochs
    assert round(data.tokens_per_step * data.steps) == sum(learned)
    for found in batches:
        assert (found.filled is None) == (found.learned == batch * data.length)
        if found.filled is not None:
            assert torch.equal(found.filled, found.targets != IGNORED)
