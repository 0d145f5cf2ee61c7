"""A quantized model is smaller, experts included, and plain transformers computes with it what this runtime does."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.models import scratch
from deepseek_runtime.quantize import model as quantize
from deepseek_runtime.weights import facts, manifest, safety
from deepseek_runtime.weights.load import load_model, load_state
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests.unit.tiny import CONFIGS, Reports, build_job, quantize_job

TOKENS = torch.arange(3, 40)[None]


@pytest.fixture(scope="session", params=sorted(CONFIGS))
def any_base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _base(request.param, tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _base("DeepSeekV3", tmp_path_factory.mktemp("base"))


def _base(architecture: str, directory: Path) -> Path:
    scratch.run(build_job(directory, architecture), Reports())
    return directory / "volume" / "artifact"


def _quantize(base: Path, output: Path, *ignore: str) -> Path:
    quantize.run(quantize_job(base, manifest.read(base).digest, output, *ignore), Reports())
    return output / "artifact"


def _logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(TOKENS).logits
    return logits


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_plain_transformers_computes_the_same_and_generates(any_base: Path, tmp_path: Path) -> None:
    directory = _quantize(any_base, tmp_path)
    ours = load_model(directory)
    loaded: Any = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, output_loading_info=True)
    theirs, report = loaded
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    theirs.set_experts_implementation("eager")
    torch.testing.assert_close(_logits(ours), _logits(theirs), rtol=0, atol=2e-6)
    generated = theirs.generate(TOKENS, max_new_tokens=3, min_new_tokens=3, do_sample=False)
    assert generated.shape[1] == TOKENS.shape[1] + 3
    assert not torch.equal(_logits(ours), _logits(load_model(any_base)))
    assert (_logits(ours) - _logits(load_model(any_base))).abs().max() < 0.05


def test_every_linear_weight_is_quantized_experts_too_and_bytes_are_counted(base: Path, tmp_path: Path) -> None:
    reports = Reports()
    result = quantize.run(quantize_job(base, manifest.read(base).digest, tmp_path), reports)
    before, after = load_file(base / "model.safetensors"), load_file(tmp_path / "artifact" / "model.safetensors")
    kept = {name for name in before if name in after}
    assert {name.split(".")[-2] for name in kept} == {
        *("embed_tokens", "norm", "lm_head", "gate"),
        *("input_layernorm", "post_attention_layernorm", "q_a_layernorm", "kv_a_layernorm"),
    }
    assert all(torch.equal(before[name], after[name]) for name in kept)
    figures, artifact = result.quantization, result.artifact
    assert figures is not None
    assert artifact is not None
    assert figures.weight_bytes_before == sum(t.nbytes for t in before.values())
    assert figures.weight_bytes_after == sum(t.nbytes for t in after.values())
    assert figures.expert_bytes_after == sum(t.nbytes for name, t in after.items() if ".experts." in name)
    assert figures.quantized_modules == sum(name.endswith("weight_packed") for name in after) == 5 + 3 + 3 * 5 + 5
    assert figures.kept_modules == 1
    assert artifact.dtype == "int8"
    manifest.verify(tmp_path / "artifact", artifact.digest)
    assert (tmp_path / "artifact" / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    done = [done for phase, done, _ in reports.seen if phase == "quantizing"]
    assert done == sorted(done)
    assert done[-1] == figures.weight_bytes_before


def test_the_loader_gives_a_plain_checkpoints_names_and_shapes_in_any_dtype(base: Path, tmp_path: Path) -> None:
    plain = dict(load_state(base))
    back = dict(load_state(_quantize(base, tmp_path), torch.bfloat16))
    assert {name: t.shape for name, t in back.items()} == {name: t.shape for name, t in plain.items()}
    bias = "model.layers.1.mlp.gate.e_score_correction_bias"
    assert {name for name, t in back.items() if t.dtype != torch.bfloat16} == {bias}
    assert back[bias].dtype == torch.float32


def test_what_ignore_matches_stays_exactly_as_it_was(base: Path, tmp_path: Path) -> None:
    directory = _quantize(base, tmp_path, "model.layers.0.*", "*.mlp.experts.*")
    plain, back = dict(load_state(base)), dict(load_state(directory))
    changed = {name for name in plain if not torch.equal(plain[name], back[name])}
    assert changed
    assert all("layers.1." in name and ".experts." not in name for name in changed)
    assert torch.isfinite(_logits(load_model(directory))).all()


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("model.layer.0.*", "'model.layer.0.*' matches no module"),
        ("*norm*", "'\\*norm\\*' matches no module"),
        ("*.experts.0.*", r"some experts of model\.layers\.1\.mlp\.experts"),
    ],
)
def test_a_pattern_that_cannot_be_meant_is_refused(base: Path, tmp_path: Path, pattern: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        _quantize(base, tmp_path, pattern)
    assert caught.value.reason == "InvalidConfig"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["model.norm.weight", "model.layers.1.mlp.experts.3.down_proj.weight"])
def test_a_number_that_is_none_is_refused_with_its_tensor(base: Path, tmp_path: Path, name: str, value: float) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(base, copy)
    tensors = load_file(copy / "model.safetensors")
    tensors[name].view(-1)[-1] = value
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    manifest.write(copy)
    with pytest.raises(DataError, match=name) as caught:
        _quantize(copy, tmp_path / "out")
    assert caught.value.reason == "NotFinite"


def test_a_quantized_model_is_not_quantized_again(base: Path, tmp_path: Path) -> None:
    once = _quantize(base, tmp_path / "once")
    with pytest.raises(ConfigurationError, match="quantized already"):
        _quantize(once, tmp_path / "twice")


def test_shards_stay_shards_and_their_index_is_right(base: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    load_model(base).save_pretrained(copy, max_shard_size="20KB")
    manifest.write(copy)
    assert len(safety.check(copy)) > 3
    directory = _quantize(copy, tmp_path / "out")
    index = json.loads((directory / safety.INDEX).read_text())
    shards = safety.check(directory)
    assert index["weight_map"] == {name: shard.path.name for shard in shards for name in shard.tensors}
    whole = dict(load_state(_quantize(base, tmp_path / "whole")))
    parts = dict(load_state(directory))
    assert all(torch.equal(whole[name], parts[name]) for name in whole.keys() | parts.keys())


def test_weights_that_the_index_does_not_name_are_left_behind_and_not_counted(base: Path, tmp_path: Path) -> None:
    sharded = tmp_path / "base"
    load_model(base).save_pretrained(sharded, max_shard_size="40KB")
    before = facts.artifact(sharded, manifest.write(sharded)).weight_bytes
    (sharded / "original").mkdir()
    for name in ("model.safetensors", "original/model.safetensors"):
        shutil.copyfile(base / "model.safetensors", sharded / name)
    assert facts.artifact(sharded, manifest.write(sharded)).weight_bytes == before
    directory = _quantize(sharded, tmp_path / "out")
    named = {shard.path for shard in safety.check(directory)}
    assert set(directory.rglob("*.safetensors")) == named
    assert facts.artifact(directory, manifest.read(directory)).weight_bytes == sum(one.stat().st_size for one in named)


def test_a_single_shard_by_another_name_has_its_index(base: Path, tmp_path: Path) -> None:
    renamed, name = tmp_path / "base", "model-00001-of-00001.safetensors"
    shutil.copytree(base, renamed)
    (renamed / "model.safetensors").rename(renamed / name)
    weight_map = dict.fromkeys(load_file(renamed / name), name)
    (renamed / safety.INDEX).write_text(json.dumps({"weight_map": weight_map}))
    manifest.write(renamed)
    assert [shard.path.name for shard in safety.check(_quantize(renamed, tmp_path / "out"))] == [name]


@pytest.mark.parametrize("change", ["missing", "unknown", "misshapen"])
def test_weights_that_do_not_fit_the_configuration_are_refused(base: Path, tmp_path: Path, change: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(base, copy)
    tensors = load_file(copy / "model.safetensors")
    norm = tensors.pop("model.norm.weight")
    if change == "unknown":
        tensors |= {"model.norm.weight": norm, "model.other.weight": norm.clone()}
    if change == "misshapen":
        tensors["model.norm.weight"] = norm[:-1].clone()
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match="do not fit its config"):
        load_model(copy)
