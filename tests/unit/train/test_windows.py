"""Which windows of the text each step sees."""

from collections import Counter

import numpy as np
import pytest
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.train.windows import Windows
from hypothesis import given
from hypothesis import strategies as st

BOS = 60000


def windows(tokens: int, length: int = 4, batch: int = 4, seed: int = 0) -> Windows:
    return Windows(np.arange(tokens, dtype=np.uint16), BOS, length, batch, seed)


@given(tokens=st.integers(5, 300), batch=st.integers(1, 8), seed=st.integers(0, 5))
def test_every_window_comes_once_in_an_epoch_and_each_epoch_has_its_own_order(
    tokens: int, batch: int, seed: int
) -> None:
    data = windows(tokens, batch=batch, seed=seed)
    steps = 3 * data.count  # of batch windows each: batch * 3 epochs
    seen = [index for step in range(steps) for index in data.indices(step)]
    epochs = [tuple(seen[start : start + data.count]) for start in range(0, len(seen), data.count)]
    assert all(Counter(epoch) == Counter(range(data.count)) for epoch in epochs)
    if data.count > 20:
        assert len(set(epochs)) > 1


@given(step=st.integers(0, 500), shares=st.sampled_from([1, 2, 4]))
def test_shares_together_are_the_batch_whatever_was_asked_before(step: int, shares: int) -> None:
    whole = windows(997).rows(step)
    other = windows(997)
    other.rows(3)
    parts = np.concatenate([other.rows(step, share, shares) for share in range(shares)])
    assert (parts == whole).all()


def test_a_row_predicts_each_next_token_and_every_second_begins_like_a_prompt() -> None:
    rows = windows(21).rows(0)
    assert rows.shape == (4, 5)
    assert (rows[1::2, 0] == BOS).all()
    assert (rows[1::2, 1] % 4 == 0).all()
    assert (rows[::2, 0] % 4 == 0).all()
    assert (np.diff(rows[::2]) == 1).all()
    assert (np.diff(rows[1::2, 1:]) == 1).all()


def test_too_short_a_text_is_refused() -> None:
    with pytest.raises(DataError, match="4 tokens, one sequence needs 5"):
        windows(4)
