"""int8 weights are multiplied as they are; what that may change, and what it may not."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from deepseek_runtime.quantize import declared
from deepseek_runtime.quantize.activations import by_scale
from deepseek_runtime.serve import runner as runners
from deepseek_runtime.serve.layers.bank import Int8Bank, LinearBank, bank
from deepseek_runtime.serve.layers.int8 import Int8Linear, StaticInt8Linear, int8_linear, multiplies_int8
from deepseek_runtime.serve.layers.linear import Linear
from deepseek_runtime.serve.layers.mlp import ExpertsOnly, FeedForward
from deepseek_runtime.serve.matrix import Int8Matrix, stack
from deepseek_runtime.serve.shard import Shard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.serve.conftest import Model

needs_vnni = pytest.mark.skipif(not multiplies_int8(torch.device("cpu")), reason="this machine has no VNNI")


def matrix(out: int, inner: int, *, dynamic: bool = False) -> Int8Matrix:
    values = torch.randint(-127, 128, (out, inner), dtype=torch.int8)
    return Int8Matrix(values, torch.rand(out, 1) * 0.01 + 0.001, dynamic)


def rounded(x: torch.Tensor) -> torch.Tensor:
    """Symmetric int8 of each token."""
    scale = x.float().abs().amax(-1, keepdim=True) / 127
    return (x.float() / scale).round() * scale


@needs_vnni
@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 40),
    inner=st.integers(1, 200),
    out=st.integers(1, 90),
    seed=st.integers(0, 9),
    spread=st.sampled_from((1.0, 30.0)),
)
def test_products_are_those_of_the_dequantized_matrix(
    rows: int, inner: int, out: int, seed: int, spread: float
) -> None:
    """Weight-only: activations keep 16 bits of their token's largest, whatever the outliers of others."""
    torch.manual_seed(seed)
    held = matrix(out, inner)
    x, add, bias = torch.randn(rows, inner), torch.randn(rows, out), torch.randn(out)
    x[:, 0] *= spread
    plain = held.dequantize(torch.float32).double()
    exact = x.double() @ plain.T + bias + add
    error = (Int8Linear(held, bias)(x, add) - exact).abs()
    step = x.abs().amax(-1, keepdim=True).double() / 127 / 254
    assert (error <= step / 2 * plain.abs().sum(1) + 1e-5 * (1 + exact.abs())).all()


@needs_vnni
def test_weight_only_is_nearer_to_the_truth_than_bfloat16() -> None:
    torch.manual_seed(1)
    held, x = matrix(64, 512), torch.randn(8, 512)
    exact = x.double() @ held.dequantize(torch.float32).double().T
    bfloat16 = Linear(held.dequantize(torch.bfloat16))(x.bfloat16()).double()
    assert (Int8Linear(held)(x) - exact).abs().mean() < (bfloat16 - exact).abs().mean() / 20


@needs_vnni
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dynamic_rounds_each_token_by_its_own_largest(dtype: torch.dtype) -> None:
    torch.manual_seed(2)
    held, x = matrix(48, 96, dynamic=True), torch.randn(5, 96).to(dtype)
    x[2] *= 1000
    x[3] = 0
    product = Int8Linear(held)(x)
    expected = torch.nan_to_num(rounded(x)) @ held.dequantize(torch.float32).T
    torch.testing.assert_close(product, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(product[1:2], Int8Linear(held)(x[1:2])), "a token's product depends on its neighbours"


def static(out: int, inner: int, *scales: float) -> Int8Matrix:
    """Layers one above the other, with so many outputs each."""
    parts = [replace(matrix(out, inner), input_scale=torch.full((out, 1), scale)) for scale in scales]
    stacked = stack(parts, torch.float32)
    assert isinstance(stacked, Int8Matrix)
    return stacked


@needs_vnni
@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 40),
    scales=st.lists(st.sampled_from((0.003, 0.02, 0.1)), min_size=1, max_size=3),
    dtype=st.sampled_from((torch.float32, torch.bfloat16)),
    seed=st.integers(0, 9),
)
def test_static_rounds_to_the_levels_of_evaluation(
    rows: int, scales: list[float], dtype: torch.dtype, seed: int
) -> None:
    """Halves to even, and to 127 at most on either side; each layer by its own scale."""
    torch.manual_seed(seed)
    held, x = static(24, 96, *scales), torch.randn(rows, 96).to(dtype)
    x[0, :2] = torch.tensor([1000, -1000])
    x[0, 2:] = scales[0] * torch.arange(0.5, 94.5).nextafter(torch.zeros(94))  # the nearest below a half
    bias, add = torch.randn(24 * len(scales)), torch.randn(rows, 24 * len(scales))
    parts = held.dequantize(torch.float32).double().split(24)
    rounded = [by_scale(x.float(), scale).double() @ part.T for part, scale in zip(parts, scales, strict=True)]
    expected = torch.cat(rounded, -1) + bias + add
    product = int8_linear(held, bias)(x, add)
    assert product.dtype == torch.float32
    torch.testing.assert_close(product.double(), expected, rtol=1e-4, atol=1e-4)


@needs_vnni
def test_experts_keep_static_scales_of_their_own() -> None:
    torch.manual_seed(4)
    experts = [static(24, 40, scale, scale * 2) for scale in (0.01, 0.03, 0.02)]
    held, x = bank(experts, torch.float32), torch.randn(5, 40)
    expected = torch.cat([int8_linear(experts[2])(x[:2]), int8_linear(experts[0])(x[2:])])
    assert torch.equal(held(x, [(2, 2), (0, 3)]), expected)
    assert not torch.equal(held(x, [(1, 2), (0, 3)])[:2], expected[:2])


@needs_vnni
@pytest.mark.parametrize("dynamic", [False, True])
def test_a_bank_multiplies_every_row_with_its_expert(*, dynamic: bool) -> None:
    torch.manual_seed(3)
    experts = [matrix(24, 40, dynamic=dynamic) for _ in range(4)]
    held, x = bank(experts, torch.float32), torch.randn(6, 40)
    assert isinstance(held, Int8Bank)
    expected = torch.cat([Int8Linear(experts[3])(x[:1]), Int8Linear(experts[0])(x[1:5]), Int8Linear(experts[2])(x[5:])])
    torch.testing.assert_close(held(x, [(3, 1), (0, 4), (2, 1)]), expected)


@needs_vnni
@pytest.mark.parametrize("kind", ["plain", "weight-only", "dynamic"])
def test_a_single_row_is_that_of_every_expert(kind: str) -> None:
    torch.manual_seed(5)
    int8 = [matrix(24, 40, dynamic=kind == "dynamic") for _ in range(4)]
    experts = [one.dequantize(torch.float32) for one in int8] if kind == "plain" else int8
    held, x = bank(experts, torch.float32), torch.randn(1, 40)
    hits = [(3, 1), (0, 1), (2, 1)]
    torch.testing.assert_close(held(x, hits), held(x.expand(3, -1), hits))
    torch.testing.assert_close(held(x, hits[:1]), held(x, hits)[:1])


def test_matrices_of_several_kinds_become_plain() -> None:
    plain, held = torch.randn(3, 8), matrix(5, 8)
    mixed = stack([held, plain], torch.float32)
    assert isinstance(mixed, torch.Tensor)
    assert torch.equal(mixed, torch.cat([held.dequantize(torch.float32), plain]))
    for other in (matrix(2, 8, dynamic=True), static(2, 8, 0.1)):
        assert isinstance(stack([held, other], torch.float32), torch.Tensor)
    assert isinstance(bank([held, plain], torch.float32), LinearBank)


def test_a_machine_without_vnni_and_a_gpu_multiply_plain_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not multiplies_int8(torch.device("cuda"))
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    assert not multiplies_int8(torch.device("cpu"))


@needs_vnni
@pytest.mark.parametrize("name", ["v3-int8", "v2-int8", "llama-int8"])
def test_int8_layers_hold_int8(models: Callable[[str], Model], name: str) -> None:
    runner = runners.start(models(name).config(context_length=64), Shard(), lambda done, total: None)
    layers = runner.model.layers
    assert all(isinstance(layer.output, Int8Linear) for layer in layers)
    mlps = [layer.mlp for layer in layers if isinstance(layer.mlp, FeedForward)]
    assert mlps
    assert all(isinstance(mlp.down, Int8Linear) for mlp in mlps)
    routed = [layer.mlp.experts for layer in layers if layer.mlp.experts is not None]
    assert all(isinstance(experts.down, Int8Bank) for experts in routed)


@pytest.mark.parametrize(
    ("inputs", "rounded"),
    [
        (None, None),
        ({"num_bits": 8, "strategy": "token", "dynamic": True}, "dynamic"),
        ({"num_bits": 8, "strategy": "tensor"}, "static"),
        ({"num_bits": 8, "strategy": "tensor", "symmetric": False}, None),
        ({"num_bits": 8, "strategy": "token", "dynamic": True, "symmetric": False}, None),
        ({"num_bits": 8, "strategy": "token"}, None),
        ({"num_bits": 4, "strategy": "tensor"}, None),
        ({"num_bits": 8, "strategy": "tensor", "type": "float"}, None),
    ],
)
def test_activations_are_rounded_where_all_is_told_as_it_is_done(
    inputs: dict[str, object] | None, rounded: str | None
) -> None:
    weights = {"num_bits": 8, "strategy": "channel"}
    group = {"weights": weights, "input_activations": inputs}
    told = {"quant_method": "compressed-tensors", "format": "int-quantized", "config_groups": {"group_0": group}}
    assert declared.activations({"quantization_config": told}) == rounded


@needs_vnni
@pytest.mark.parametrize("name", ["v3-static", "llama-static"])
def test_layers_with_static_scales_are_one_product_where_they_share_them(
    models: Callable[[str], Model], name: str
) -> None:
    runner = runners.start(models(name).config(context_length=64), Shard(), lambda done, total: None)
    for layer in runner.model.layers:
        if isinstance(layer.mlp, FeedForward):
            mlp = [layer.mlp.gate_up, layer.mlp.down]
        else:
            mlp = [*layer.mlp.experts.gate_up.experts, *layer.mlp.experts.down.experts]
        for projection in (layer.output, *mlp):
            assert isinstance(projection, StaticInt8Linear)
            assert len(projection.scales) == 1


@needs_vnni
@pytest.mark.parametrize(
    ("name", "kind"),
    [("v3", ExpertsOnly), ("v3-int8", ExpertsOnly), ("v3-int8experts", FeedForward), ("v2-int8", FeedForward)],
)
def test_a_shared_expert_is_one_of_the_others_where_it_is_made_as_they_are(
    models: Callable[[str], Model], name: str, kind: type
) -> None:
    """v2 has two shared experts, which a checkpoint holds as one that is twice as wide."""
    runner = runners.start(models(name).config(context_length=64), Shard(), lambda done, total: None)
    mixtures = [layer.mlp for layer in runner.model.layers[1:]]
    assert {type(mixture) for mixture in mixtures} == {kind}
    assert all(mixture.experts is not None for mixture in mixtures)
