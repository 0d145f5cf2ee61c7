"""int8 weights are as near as 255 levels allow, and lie in memory as compressed-tensors lays them."""

import pytest
import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32, unpack_from_int32
from deepseek_runtime.quantize import packed
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 5),
    columns=st.integers(1, 70),
    seed=st.integers(0, 2**31),
    magnitude=st.sampled_from([1e-30, 1e-4, 1.0, 1e4]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_every_value_is_within_half_a_step(
    rows: int, columns: int, seed: int, magnitude: float, dtype: torch.dtype
) -> None:
    weight = (torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * magnitude).to(dtype)
    values, scale, shape = packed.quantize(weight)
    assert packed.consistent(values, scale, shape)
    assert (scale.dtype, scale.shape) == (dtype, (rows, 1))
    exact = packed.unpack(values, columns).float() * scale.float()
    step = scale.float()
    # in bfloat16 the scale is rounded, so the largest value may lie a little beyond its last step
    slack = 0.5 if dtype == torch.float32 else 0.76
    assert ((exact - weight.float()).abs() <= slack * step * (1 + 1e-5)).all()
    assert torch.equal(packed.dequantize(values, scale, shape), exact.to(dtype))


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 4), columns=st.integers(1, 70), seed=st.integers(0, 2**31))
def test_the_layout_is_compressed_tensors_own(rows: int, columns: int, seed: int) -> None:
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    values, _, _ = packed.quantize(weight)
    levels = packed.unpack(values, columns)
    assert torch.equal(unpack_from_int32(values, 8, torch.Size((rows, columns))), levels)
    assert torch.equal(pack_to_int32(levels, 8), values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rows_of_zeros_stay_zeros(dtype: torch.dtype) -> None:
    weight = torch.tensor([[0.0, 0.0, 0.0], [1.0, -1.0, 0.5]], dtype=dtype)
    back = packed.dequantize(*packed.quantize(weight))
    assert torch.equal(back[0], weight[0])
    assert torch.allclose(back, weight, atol=1 / 127)


def test_parts_that_do_not_fit_together_are_told() -> None:
    values, scale, shape = packed.quantize(torch.randn(3, 6))
    assert packed.consistent(values, scale, shape)
    assert not packed.consistent(values[:2], scale, shape)
    assert not packed.consistent(values, scale[:, 0], shape)
    assert not packed.consistent(values, scale, torch.tensor([3, 9]))
    assert not packed.consistent(values.float(), scale, shape)
