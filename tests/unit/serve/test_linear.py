"""Prepacked products: what they give, and that prompts of ever other lengths do not cost ever more memory."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 torch's own convention
from deepseek_runtime.serve.layers.linear import Linear
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.memory import anonymous_megabytes


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 70), biased=st.booleans(), added=st.booleans(), seed=st.integers(0, 1 << 20))
def test_a_product_is_that_of_torch_at_every_count_of_rows(rows: int, biased: bool, added: bool, seed: int) -> None:
    torch.manual_seed(seed)
    weight, x = torch.randn(24, 40), torch.randn(rows, 40)
    bias = torch.randn(24) if biased else None
    add = torch.randn(rows, 24) if added else None
    expected = F.linear(x, weight, bias) + (0 if add is None else add)
    found = Linear(weight, bias)(x, add)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_memory_does_not_grow_with_every_new_count_of_rows(dtype: torch.dtype) -> None:
    """A kernel for each of 480 counts would take some 300 MB."""
    linear = Linear(torch.randn(512, 512, dtype=dtype))
    x = torch.randn(520, 512, dtype=dtype)
    before = anonymous_megabytes()
    for rows in range(40, 520):
        linear(x[:rows])
    assert anonymous_megabytes() - before < 75
