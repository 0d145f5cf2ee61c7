"""Every scheme is read back, here and by plain transformers where that can; what cannot be made is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from deepseek_runtime.fetch import support
from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.models import scratch
from deepseek_runtime.quantize import model as quantize
from deepseek_runtime.weights import manifest, safety, shapes
from deepseek_runtime.weights.load import load_model, load_state
from deepseek_runtime.wire.result import JobResult
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests.unit.tiny import Reports, build_job, quantize_job

TOKENS = torch.arange(3, 40)[None]
LATENT = {"moe_intermediate_size": 32, "kv_lora_rank": 32, "v_head_dim": 16, "intermediate_size": 64}
SIZES: dict[str, dict[str, Any]] = {
    "DeepSeekV3": {**LATENT, "q_lora_rank": 32},
    "DeepSeekV2": LATENT,
    "Llama": {"intermediate_size": 64},
}
RECIPES: dict[str, dict[str, Any]] = {
    "int8-dynamic": {"scheme": "int8", "method": "dynamic"},
    "int4": {"scheme": "int4", "group_size": 32},
    "int4-all": {"scheme": "int4", "group_size": 32, "scope": "all"},
    "fp8": {"scheme": "fp8"},
    "fp8-block": {"scheme": "fp8Block"},
    "bf16": {"scheme": "bf16"},
}
DTYPES = {
    "int8-dynamic": "int8",
    "int4": "int4",
    "int4-all": "int4",
    "fp8": "fp8",
    "fp8-block": "fp8",
    "bf16": "bfloat16",
}
LARGEST = {"int8-dynamic": 0.01, "int4": 0.1, "int4-all": 0.1, "fp8": 0.06, "fp8-block": 0.06, "bf16": 0.06}
"""How far a logit may be from the base's; the base's own are within 1."""


@pytest.fixture(scope="module", params=sorted(SIZES))
def any_base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _base(request.param, tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _base("DeepSeekV3", tmp_path_factory.mktemp("base"))


def _base(architecture: str, directory: Path) -> Path:
    scratch.run(build_job(directory, architecture, **SIZES[architecture]), Reports())
    return directory / "volume" / "artifact"


def _quantize(base: Path, output: Path, *ignore: str, **recipe: Any) -> JobResult:
    return quantize.run(quantize_job(base, manifest.read(base).digest, output, *ignore, **recipe), Reports())


def _logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(TOKENS).logits
    return logits


@pytest.mark.parametrize("name", RECIPES)
def test_it_is_smaller_told_as_what_it_is_and_near_to_the_base(any_base: Path, tmp_path: Path, name: str) -> None:
    result = _quantize(any_base, tmp_path, **RECIPES[name])
    directory = tmp_path / "artifact"
    figures, artifact = result.quantization, result.artifact
    assert figures is not None
    assert artifact is not None
    assert artifact.dtype == DTYPES[name]
    stored = load_file(directory / "model.safetensors")
    assert figures.weight_bytes_after == sum(tensor.nbytes for tensor in stored.values()) < figures.weight_bytes_before
    assert figures.expert_bytes_after <= 0.55 * figures.expert_bytes_before
    support.check(directory, 0)
    shapes.check(directory, safety.check(directory))
    plain, back = dict(load_state(any_base)), dict(load_state(directory, torch.float32))
    assert {key: tensor.shape for key, tensor in back.items()} == {key: tensor.shape for key, tensor in plain.items()}
    difference = (_logits(load_model(directory, torch.float32)) - _logits(load_model(any_base))).abs().max()
    assert 0 < difference < LARGEST[name]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", ["int4", "int4-all", "bf16"])
def test_plain_transformers_computes_the_same(any_base: Path, tmp_path: Path, name: str) -> None:
    """Not of schemes that also quantize activations, which transformers does in part and this runtime does not."""
    _quantize(any_base, tmp_path, **RECIPES[name])
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        tmp_path / "artifact", dtype=torch.float32, output_loading_info=True
    )
    theirs, report = loaded
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    theirs.set_experts_implementation("eager")
    # to the last bits: in which order sums are taken depends on where in memory the weights lie
    torch.testing.assert_close(
        _logits(load_model(tmp_path / "artifact", torch.float32)), _logits(theirs), rtol=0, atol=2e-6
    )


@pytest.mark.parametrize(
    "recipe",
    [
        {"scheme": "int8"},
        {"scheme": "int8", "method": "dynamic"},
        {"scheme": "int4", "group_size": 32},
        {"scheme": "fp8"},
        {"scheme": "bf16"},
    ],
)
def test_deepseeks_own_fp8_is_dequantized_on_the_way(any_base: Path, tmp_path: Path, recipe: dict[str, Any]) -> None:
    """Its parts may lie in different files; the result is in bfloat16 where it is not quantized anew."""
    _quantize(any_base, tmp_path / "fp8", scheme="fp8Block")
    official = _as_published(tmp_path / "fp8" / "artifact", tmp_path / "official")
    result = _quantize(official, tmp_path / "out", **recipe)
    directory = tmp_path / "out" / "artifact"
    stored = {name: tensor for path in directory.glob("*.safetensors") for name, tensor in load_file(path).items()}
    assert not [name for name in stored if name.endswith("scale_inv")]
    index = json.loads((directory / safety.INDEX).read_text())
    assert index["weight_map"].keys() == stored.keys()
    assert {tensor.dtype for name, tensor in stored.items() if name.endswith("weight_scale")} <= {torch.bfloat16}
    assert result.artifact is not None
    assert result.artifact.dtype == {"bf16": "bfloat16"}.get(recipe["scheme"], recipe["scheme"])
    close = _logits(load_model(directory, torch.float32)) - _logits(load_model(official, torch.float32))
    assert close.abs().max() < 0.1


def _as_published(directory: Path, target: Path) -> Path:
    """Two files, the scales in the other one, the rest in bfloat16."""
    target.mkdir()
    tensors = load_file(directory / "model.safetensors")
    config = json.loads((directory / safety.CONFIG).read_text())
    config.pop("dtype", None)
    (target / safety.CONFIG).write_text(json.dumps({**config, "torch_dtype": "bfloat16"}))
    parts: tuple[dict[str, torch.Tensor], ...] = ({}, {})
    for name, tensor in tensors.items():
        keep = tensor.dtype == torch.float8_e4m3fn or name.endswith(("scale_inv", "correction_bias"))
        parts[name.endswith("scale_inv")][name] = tensor if keep else tensor.to(torch.bfloat16)
    files = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    for file, part in zip(files, parts, strict=True):
        save_file(part, target / file, {"format": "pt"})
    weight_map = {name: file for file, part in zip(files, parts, strict=True) for name in part}
    (target / safety.INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (target / "tokenizer.json").write_bytes((directory / "tokenizer.json").read_bytes())
    manifest.write(target)
    return target


def test_int4_of_a_model_with_experts_is_of_the_experts(base: Path, tmp_path: Path) -> None:
    _quantize(base, tmp_path, **RECIPES["int4"])
    before, after = load_file(base / "model.safetensors"), load_file(tmp_path / "artifact" / "model.safetensors")
    assert {".experts." in name for name in after.keys() - before.keys()} == {True}
    assert all(".experts." in name for name in before.keys() - after.keys())


def test_a_width_that_groups_do_not_fill_is_refused_with_what_fits(base: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"experts\..* has 32 inputs, .* 128 .*Set groupSize to 32\."
    ) as caught:
        _quantize(base, tmp_path, scheme="int4")
    assert caught.value.reason == "InvalidConfig"


def test_experts_of_a_model_without_any_are_refused(tmp_path: Path) -> None:
    llama = _base("Llama", tmp_path)
    with pytest.raises(ConfigurationError, match="scope is experts, but the model has none"):
        _quantize(llama, tmp_path / "out", scheme="int4", group_size=32, scope="experts")


@pytest.mark.parametrize("recipe", [{"scheme": "fp8Block"}, {"scheme": "int8"}, {"scheme": "bf16"}])
@pytest.mark.parametrize("first", ["int8-dynamic", "int4", "fp8"])
def test_what_is_quantized_is_not_quantized_again(
    base: Path, tmp_path: Path, first: str, recipe: dict[str, Any]
) -> None:
    _quantize(base, tmp_path / "once", **RECIPES[first])
    with pytest.raises(ConfigurationError, match="quantized already"):
        _quantize(tmp_path / "once" / "artifact", tmp_path / "twice", **recipe)


@pytest.mark.parametrize("name", RECIPES)
def test_a_number_that_is_none_is_refused_with_its_tensor(base: Path, tmp_path: Path, name: str) -> None:
    tensors = load_file(base / "model.safetensors")
    spoiled = "model.layers.1.mlp.experts.3.down_proj.weight"
    tensors[spoiled][5, 5] = float("nan")
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / safety.CONFIG).write_bytes((base / safety.CONFIG).read_bytes())
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    manifest.write(copy)
    with pytest.raises(DataError, match=spoiled) as caught:
        _quantize(copy, tmp_path / "out", **RECIPES[name])
    assert caught.value.reason == "NotFinite"
