"""Calibrated variants of a model that was trained: better than rounding, every expert accounted for, read back."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.models import scratch
from deepseek_runtime.quantize import Quantized, Quantizer, calibration, gptq_layers, static_scales
from deepseek_runtime.quantize.layerwise import Decoder
from deepseek_runtime.weights import manifest, safety
from deepseek_runtime.weights.load import load_config, load_model, load_state
from deepseek_runtime.weights.stored import StoredWeights

from tests.unit.quantize.trained import LENGTH, nats
from tests.unit.tiny import CONFIGS, Reports, build_job


def _quantize(model: Path, output: Path, method: str, **settings: Any) -> Quantized:
    calibrated = {"calibration": [model.parent / "text.txt"], "samples": 64, "sequence_length": LENGTH}
    if method not in ("static", "gptq"):
        calibrated = {}
    return Quantizer.from_pretrained(model).quantize(
        output_path=output, quantization_method=method, **{"group_size": 16, **calibrated, **settings}
    )


@pytest.mark.parametrize("architecture", sorted(CONFIGS))
def test_layer_by_layer_is_the_whole_models_forward_pass(architecture: str, tmp_path: Path) -> None:
    scratch.run(build_job(tmp_path, architecture), Reports())
    base = tmp_path / "volume" / "artifact"
    tokens = torch.randint(3, 300, (5, 40), generator=torch.Generator().manual_seed(0))
    decoder = Decoder(load_config(base), dict(load_state(base)).__getitem__, tokens, torch.float32, torch.device("cpu"))
    for layer in decoder.layers():
        decoder.advance(layer)
    model = load_model(base)
    with torch.inference_mode():
        expected = model.model(tokens).last_hidden_state
        assert torch.allclose(model.model.norm(decoder.hidden), expected, atol=1e-5)


def test_gptq_loses_less_than_rounding_to_nearest(learned: Path, tmp_path: Path) -> None:
    text = learned.parent / "heldout.txt"
    base, ignore = nats(learned, text), ["*.q_b_proj"]  # 12 inputs: no whole group
    nearest = _quantize(learned, tmp_path / "nearest", "roundToNearest", scope="all", ignore=ignore)
    gptq = _quantize(learned, tmp_path / "gptq", "gptq", scope="all", ignore=ignore)
    assert nearest.weight_bytes_after == gptq.weight_bytes_after
    assert abs(nats(gptq.path, text) - base) < 0.5 * abs(nats(nearest.path, text) - base)


def test_gptq_of_experts_alone_is_no_worse_either(learned: Path, tmp_path: Path) -> None:
    text = learned.parent / "heldout.txt"
    nearest = _quantize(learned, tmp_path / "nearest", "roundToNearest")
    gptq = _quantize(learned, tmp_path / "gptq", "gptq")
    assert nats(gptq.path, text) <= nats(nearest.path, text)
    kept, before = dict(load_state(gptq.path)), dict(load_state(learned))
    changed = {name for name in before if not torch.equal(before[name], kept[name])}
    assert changed
    assert all(".experts." in name for name in changed)


def test_static_scales_reach_every_input_and_the_model_stays_what_it_was(learned: Path, tmp_path: Path) -> None:
    made = _quantize(learned, tmp_path, "static")
    config = json.loads((made.path / "config.json").read_text())["quantization_config"]
    assert config["config_groups"]["group_0"]["input_activations"] == {
        "num_bits": 8,
        "type": "int",
        "symmetric": True,
        "strategy": "tensor",
        "dynamic": False,
    }
    with StoredWeights(made.path) as stored:
        scales = {name: stored.input_scale(name) for name in _modules(made.path)}
    assert len(scales) == made.quantized_modules == 5 + 3 + 3 * 5 + 5
    # gate and up see the same inputs
    assert all(scales[name.replace("gate_proj", "up_proj")] == scale for name, scale in scales.items())
    base = nats(learned, learned.parent / "heldout.txt")
    assert 0 < abs(nats(made.path, learned.parent / "heldout.txt") - base) < 0.005
    assert made.calibration is not None
    assert made.calibration.largest_outlier > 1


def test_the_text_is_told_by_its_digest_and_its_tokens(learned: Path, tmp_path: Path) -> None:
    made = _quantize(learned, tmp_path, "static", samples=7).calibration
    assert made is not None
    assert made.digest == hashlib.sha256((learned.parent / "text.txt").read_bytes()).hexdigest()
    assert (made.sequences, made.tokens) == (7, 7 * LENGTH)
    assert (made.experts_without_tokens, made.experts_with_few_tokens) == (0, 0)


@pytest.mark.parametrize("method", ["static", "gptq"])
def test_experts_that_saw_nothing_get_what_is_safe_and_are_counted(
    learned: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    neglected = _without(learned, tmp_path / "base", expert=2)
    made = _quantize(neglected, tmp_path / "out", method)
    assert made.calibration is not None
    assert (made.calibration.experts_without_tokens, made.calibration.experts_with_few_tokens) == (1, 1)
    at = "model.layers.1.mlp.experts"
    with StoredWeights(made.path) as stored:
        if method == "static":
            scales = [stored.input_scale(f"{at}.{expert}.down_proj") for expert in range(4)]
            assert scales[2] == max(scales)
        else:
            nearest = _quantize(neglected, tmp_path / "nearest", "roundToNearest")
            with StoredWeights(nearest.path) as plain:
                for expert, same in ((1, False), (2, True)):
                    name = f"{at}.{expert}.down_proj.weight"
                    assert torch.equal(stored.read(name), plain.read(name)) is same
    monkeypatch.setattr(static_scales, "MIN_TOKENS", 10**6)
    monkeypatch.setattr(gptq_layers, "MIN_TOKENS", 10**6)
    starved = _quantize(neglected, tmp_path / "starved", method).calibration
    assert starved is not None
    assert (starved.experts_without_tokens, starved.experts_with_few_tokens) == (1, 4)


def test_shards_are_filled_whatever_layer_their_tensors_are_of(learned: Path, tmp_path: Path) -> None:
    copy = tmp_path / "base"
    load_model(learned).save_pretrained(copy, max_shard_size="20KB")
    for name in ("tokenizer.json", "tokenizer_config.json", "text.txt"):
        source = learned if name != "text.txt" else learned.parent
        (copy.parent / name if name == "text.txt" else copy / name).write_bytes((source / name).read_bytes())
    parts = dict(load_state(_quantize(copy, tmp_path / "parts", "gptq").path))
    whole = dict(load_state(_quantize(learned, tmp_path / "whole", "gptq").path))
    assert len(safety.check(tmp_path / "parts" / "artifact")) > 3
    assert all(torch.equal(whole[name], parts[name]) for name in whole.keys() | parts.keys())


def test_text_that_fills_no_sequence_is_refused_by_its_name(learned: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_text("Zu kurz.", "utf-8")
    with pytest.raises(DataError, match=r"short\.txt has \d+ tokens") as caught:
        _quantize(learned, tmp_path / "out", "static", calibration=[short])
    assert caught.value.reason == "TextTooShort"
    with pytest.raises(DataError, match=r"absent\.txt does not exist"):
        _quantize(learned, tmp_path / "out", "static", calibration=[tmp_path / "absent.txt"])
    with pytest.raises(ConfigurationError, match="beyond the model's 64") as beyond:
        _quantize(learned, tmp_path / "out", "static", sequence_length=65)
    assert beyond.value.reason == "ContextTooLong"


def test_sequences_are_spread_over_the_text(learned: Path) -> None:
    text = [str(learned.parent / "text.txt")]
    every = calibration.read(learned, text, 10**6, LENGTH).tokens
    some = calibration.read(learned, text, 5, LENGTH).tokens
    assert (every[:, 0] == load_config(learned).bos_token_id).all()
    assert torch.equal(some, every[[index * len(every) // 5 for index in range(5)]])


def _modules(directory: Path) -> list[str]:
    stored = [name for shard in safety.check(directory) for name in shard.tensors]
    return [name.removesuffix(".input_scale") for name in stored if name.endswith(".input_scale")]


def _without(model: Path, copy: Path, expert: int) -> Path:
    """The model with a bias of its router that keeps every token away from one expert."""
    network = load_model(model)
    network.model.layers[1].mlp.gate.e_score_correction_bias[expert] = -100.0
    network.save_pretrained(copy)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (copy / name).write_bytes((model / name).read_bytes())
    (copy.parent / "text.txt").write_bytes((model.parent / "text.txt").read_bytes())
    manifest.write(copy)
    return copy
