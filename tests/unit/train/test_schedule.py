"""The learning rate over a run."""

from itertools import pairwise

import pytest
from deepseek_runtime.train.schedule import learning_rate
from hypothesis import given
from hypothesis import strategies as st

from .conftest import hyperparameters


@given(steps=st.integers(2, 400), warmup=st.integers(0, 50), ratio=st.floats(0, 1))
def test_rises_in_a_line_to_the_full_rate_and_falls_to_the_least(steps: int, warmup: int, ratio: float) -> None:
    settings = hyperparameters(learning_rate=2e-3, warmup_steps=warmup, min_learning_rate_ratio=ratio)
    rates = [learning_rate(step, steps, settings) for step in range(steps)]
    rising, falling = rates[:warmup], rates[warmup:]
    assert all(0 < rate <= 2e-3 + 1e-12 for rate in rising)
    assert rising == sorted(rising)
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(falling))
    if warmup < steps:
        assert falling[0] == pytest.approx(2e-3)
    if warmup < steps - 1:
        assert rates[-1] == pytest.approx(2e-3 * ratio, abs=1e-12)
