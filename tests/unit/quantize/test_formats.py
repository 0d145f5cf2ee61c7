"""Quantized weights are as near as their levels allow, and lie in files as compressed-tensors and DeepSeek lay them."""

import math
from pathlib import Path

import pytest
import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32, unpack_from_int32
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.quantize.formats import packed, registry
from deepseek_runtime.quantize.formats.format import Format
from deepseek_runtime.quantize.formats.weight import BAND, Block
from deepseek_runtime.quantize.rounding import FP8, INT4, INT8, Levels, NotFiniteError, round_rows, round_to_nearest
from deepseek_runtime.weights.stored import StoredWeights
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

FORMS: dict[str, tuple[Format, Levels, Block, torch.dtype]] = {
    "int8 packed": (registry.PACKED_INT8, INT8, (1, 0), torch.bfloat16),
    "int4 packed": (registry.PACKED_INT4, INT4, (1, 32), torch.bfloat16),
    "int8": (registry.INT8, INT8, (1, 0), torch.float32),
    "fp8": (registry.FP8, FP8, (1, 0), torch.bfloat16),
    "fp8 block": (registry.FP8_BLOCK, FP8, (128, 128), torch.float32),
}


def _random(rows: int, columns: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 5),
    columns=st.integers(1, 70),
    seed=st.integers(0, 2**31),
    magnitude=st.sampled_from([1e-30, 1e-4, 1.0, 1e4]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_every_int8_is_within_half_a_step(
    rows: int, columns: int, seed: int, magnitude: float, dtype: torch.dtype
) -> None:
    weight = (_random(rows, columns, seed) * magnitude).to(dtype)
    quantized = round_to_nearest(weight, INT8, (1, columns), dtype)
    assert (quantized.scale.dtype, quantized.scale.shape) == (dtype, (rows, 1))
    step = quantized.scale.float()
    exact = quantized.values.float() * step
    # in bfloat16 the scale is rounded, so the largest value may lie a little beyond its last step
    slack = 0.5 if dtype == torch.float32 else 0.76
    assert ((exact - weight.float()).abs() <= slack * step * (1 + 1e-5)).all()
    assert torch.equal(quantized.dequantize(), exact.to(dtype))


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 300), groups=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_the_error_of_int4_and_fp8_is_bounded_by_their_block(rows: int, groups: int, seed: int) -> None:
    weight = _random(rows, groups * 32, seed)
    by_group = weight.view(rows, groups, 32)
    error = (round_to_nearest(weight, INT4, (1, 32), torch.float32).dequantize() - weight).view(by_group.shape).abs()
    assert (error <= by_group.abs().amax(2, keepdim=True) / 15 * (1 + 1e-5)).all()
    blocks = round_to_nearest(weight, FP8, (128, 128), torch.float32)
    assert blocks.scale.shape == (math.ceil(rows / 128), math.ceil(groups * 32 / 128))
    # three bits of mantissa, and below the smallest normal number a fixed step
    assert ((blocks.dequantize() - weight).abs() <= weight.abs() / 16 + weight.abs().max() / 448 / 512).all()


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 4), columns=st.integers(1, 70), bits=st.sampled_from([4, 8]), seed=st.integers(0, 2**31))
def test_the_packed_layout_is_compressed_tensors_own(rows: int, columns: int, bits: int, seed: int) -> None:
    reach = 1 << (bits - 1)
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(-reach, reach, (rows, columns), generator=generator, dtype=torch.int8)
    values = packed.pack(levels.clone(), bits)
    assert torch.equal(values, pack_to_int32(levels, bits))
    assert torch.equal(packed.unpack(values, columns, bits), unpack_from_int32(values, bits, torch.Size(levels.shape)))


@pytest.mark.parametrize("bits", [4, 8])
def test_rows_that_are_packed_in_several_bands_are_padded_alike(bits: int) -> None:
    rows, columns = 1000, 601
    assert rows * columns > 2 * BAND
    levels = round_to_nearest(_random(rows, columns, 2), INT4, (1, columns), torch.float32).values
    assert torch.equal(packed.pack(levels.clone(), bits), pack_to_int32(levels, bits))


@pytest.mark.parametrize("block", [(1, 2048), (1, 32), (128, 128)])
def test_a_weight_that_is_read_as_it_is_rounded_is_read_once_and_rounded_as_a_whole(block: Block) -> None:
    weight, read = _random(300, 2048, 3), list[tuple[int, int]]()

    def rows(first: int, last: int) -> torch.Tensor:
        read.append((first, last))
        return weight[first:last]

    made = round_rows(rows, (300, 2048), INT8, block, torch.float32)
    whole = round_to_nearest(weight, INT8, block, torch.float32)
    assert torch.equal(made.values, whole.values)
    assert torch.equal(made.scale, whole.scale)
    assert len(read) > 1
    assert [row for first, last in read for row in range(first, last)] == list(range(300))
    weight[299, 7] = float("nan")
    with pytest.raises(NotFiniteError):
        round_rows(rows, (300, 2048), INT8, block, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("levels", [INT8, INT4, FP8])
def test_rows_of_zeros_stay_zeros(dtype: torch.dtype, levels: Levels) -> None:
    weight = torch.tensor([[0.0, 0.0, 0.0], [1.0, -1.0, 0.5]], dtype=dtype)
    back = round_to_nearest(weight, levels, (1, 3), dtype).dequantize()
    assert torch.equal(back[0], weight[0])
    assert torch.allclose(back, weight, atol=1 / levels.reach)


@pytest.mark.parametrize("form", FORMS)
def test_any_rows_of_any_form_are_those_of_the_whole(form: str, tmp_path: Path) -> None:
    kind, levels, (height, width), scale = FORMS[form]
    weight = _random(300, 160, 1)
    quantized = round_to_nearest(weight, levels, (height, width or 160), scale)
    layout = kind.layout((300, 160), ("BF16" if scale == torch.bfloat16 else "F32", tuple(quantized.scale.shape)))
    expected = quantized.dequantize()
    parts = kind.store(quantized)
    assert {part: tuple(tensor.shape) for part, tensor in parts.items()} == {p: entry[1] for p, entry in layout.items()}
    plain = torch.arange(6.0).view(3, 2)
    save_file(
        {f"model.a.{part}": tensor for part, tensor in parts.items()} | {"model.norm.weight": plain},
        tmp_path / "model.safetensors",
    )
    with StoredWeights(tmp_path) as stored:
        assert set(stored) == {"model.a.weight", "model.norm.weight"}
        assert stored.shape("model.a.weight") == (300, 160)
        whole = stored.read("model.a.weight")
        assert torch.equal(whole, expected)
        for rows in ((0, 1), (100, 200), (127, 300), (128, 256), (5, 5)):
            assert torch.equal(stored.read("model.a.weight", rows), whole[rows[0] : rows[1]])
        assert torch.equal(stored.read("model.norm.weight", (1, 3)), plain[1:3])
        with pytest.raises(IndexError, match="300 rows"):
            stored.read("model.a.weight", (0, 301))


@pytest.mark.parametrize(
    ("form", "change"),
    [
        ("int8 packed", {"weight_scale": torch.ones(299, 1)}),
        ("int8 packed", {"weight_shape": torch.tensor([300, 170])}),
        ("int8 packed", {"weight_zero_point": torch.zeros(300, 1, dtype=torch.int8)}),
        ("int4 packed", {"weight_g_idx": torch.zeros(160, dtype=torch.int32)}),
        ("int4 packed", {"weight_scale": torch.ones(300, 7)}),
        ("int8", {"weight_scale": torch.ones(1)}),
        ("fp8 block", {"weight_scale_inv": torch.ones(2, 2)}),
    ],
)
def test_parts_that_do_not_fit_together_are_told(form: str, change: dict[str, torch.Tensor], tmp_path: Path) -> None:
    kind, levels, (height, width), scale = FORMS[form]
    parts = kind.store(round_to_nearest(_random(300, 160, 1), levels, (height, width or 160), scale)) | change
    save_file({f"model.a.{part}": tensor for part, tensor in parts.items()}, tmp_path / "model.safetensors")
    with StoredWeights(tmp_path) as stored, pytest.raises(DataError, match=r"model\.a in .* is no quantized weight"):
        stored.read("model.a.weight")


def test_the_scales_of_a_static_int8_weight_are_no_tensors_of_the_model(tmp_path: Path) -> None:
    parts = registry.INT8.store(round_to_nearest(_random(4, 8, 1), INT8, (1, 8), torch.float32))
    parts |= {"input_scale": torch.ones(1), "input_zero_point": torch.zeros(1, dtype=torch.int8)}
    save_file({f"model.a.{part}": tensor for part, tensor in parts.items()}, tmp_path / "model.safetensors")
    with StoredWeights(tmp_path) as stored:
        assert list(stored) == ["model.a.weight"]
        assert stored.read("model.a.weight").shape == (4, 8)
