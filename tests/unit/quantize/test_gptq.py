"""GPTQ loses less of a layer's output than rounding to nearest does, with the same scales."""

import torch
from deepseek_runtime.quantize import gptq
from deepseek_runtime.quantize.rounding import INT4, round_to_nearest
from hypothesis import given, settings
from hypothesis import strategies as st


def _error(weight: torch.Tensor, other: torch.Tensor, inputs: torch.Tensor) -> float:
    return float(((weight - other) @ inputs.T).square().sum())


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(8, 20), groups=st.integers(1, 10), seed=st.integers(0, 2**31))
def test_less_of_the_output_is_lost(rows: int, groups: int, seed: int) -> None:
    torch.manual_seed(seed)
    columns = 16 * groups
    inputs = torch.randn(600, columns) @ torch.randn(columns, columns)  # correlated, as activations are
    weight = torch.randn(rows, columns)
    nearest = round_to_nearest(weight, INT4, (1, 16), torch.float32)
    levels = gptq.quantize(weight, gptq.hessian(inputs), nearest.scale, -8, 7)
    assert levels is not None
    assert levels.dtype == torch.int8
    assert -8 <= int(levels.min()) <= int(levels.max()) <= 7
    made = levels.float() * nearest.scale.repeat_interleave(16, 1)
    assert _error(weight, made, inputs) < _error(weight, nearest.dequantize(), inputs)


def test_what_no_input_ever_moved_is_rounded_to_nearest() -> None:
    torch.manual_seed(0)
    weight, inputs = torch.randn(6, 32), torch.randn(100, 32)
    inputs[:, ::2] = 0
    nearest = round_to_nearest(weight, INT4, (1, 16), torch.float32)
    levels = gptq.quantize(weight, gptq.hessian(inputs), nearest.scale, -8, 7)
    assert levels is not None
    assert torch.equal(levels[:, ::2], nearest.values[:, ::2])


def test_independent_inputs_leave_nothing_to_make_up_for() -> None:
    weight = torch.randn(6, 32, generator=torch.Generator().manual_seed(1))
    nearest = round_to_nearest(weight, INT4, (1, 16), torch.float32)
    levels = gptq.quantize(weight, torch.eye(32), nearest.scale, -8, 7)
    assert levels is not None
    assert torch.equal(levels, nearest.values)


def test_fewer_tokens_than_inputs_are_enough_for_a_damped_hessian_and_none_are_not() -> None:
    torch.manual_seed(0)
    weight = torch.randn(6, 64)
    nearest = round_to_nearest(weight, INT4, (1, 16), torch.float32)
    few = torch.randn(5, 64)
    levels = gptq.quantize(weight, gptq.hessian(few), nearest.scale, -8, 7)
    assert levels is not None
    made = levels.float() * nearest.scale.repeat_interleave(16, 1)
    assert _error(weight, made, few) < _error(weight, nearest.dequantize(), few)
    assert gptq.quantize(weight, torch.zeros(64, 64), nearest.scale, -8, 7) is None
    assert gptq.quantize(weight, torch.full((64, 64), float("nan")), nearest.scale, -8, 7) is None
