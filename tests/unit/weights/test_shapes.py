"""What config.json says of names and shapes, beside what transformers writes; and what is told of a difference."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.models import scratch
from deepseek_runtime.quantize import model as quantize
from deepseek_runtime.quantize import parts
from deepseek_runtime.quantize.formats import registry
from deepseek_runtime.weights import safety, shapes
from safetensors.torch import load_file, save_file

from tests.unit.tiny import CONFIGS, Reports, build_job, quantize_job


@pytest.fixture(scope="module", params=sorted(CONFIGS))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made")
    scratch.run(build_job(directory, request.param), Reports())
    return directory / "volume" / "artifact"


def test_they_are_what_transformers_writes(made: Path) -> None:
    config = json.loads((made / safety.CONFIG).read_text())
    written = {name: info.shape for shard in safety.check(made) for name, info in shard.tensors.items()}
    assert dict(shapes.expected(safety.FAMILIES[config["architectures"][0]], config)) == written
    shapes.check(made, safety.check(made))


SCHEMES: list[dict[str, Any]] = [
    {"scheme": "int8"},
    {"scheme": "int8", "method": "dynamic"},
    {"scheme": "int4", "scope": "all", "group_size": 2},
    {"scheme": "fp8"},
    {"scheme": "fp8Block"},
]
SPOILT: list[tuple[dict[str, Any], str, Callable[[dict[str, torch.Tensor]], object]]] = [
    ({"scheme": "int8"}, "weight_packed I32", lambda parts: parts.pop("weight_scale")),
    ({"scheme": "int8"}, "weight_g_idx", lambda parts: parts.update(weight_g_idx=torch.zeros(4))),
    ({"scheme": "int8"}, "weight_packed", lambda parts: parts.update(weight_packed=parts["weight_packed"][:, 1:])),
    ({"scheme": "fp8"}, "weight F8_E4M3", lambda parts: parts.pop("weight_scale")),
    ({"scheme": "int8", "method": "dynamic"}, "weight I8", lambda parts: parts.pop("weight_scale")),
    ({"scheme": "fp8Block"}, r"\[1, 2\]", lambda parts: parts.update(weight_scale_inv=torch.ones(1, 2))),
]


@pytest.mark.parametrize("recipe", SCHEMES, ids=str)
def test_a_quantized_model_has_the_same_names(made: Path, tmp_path: Path, recipe: dict[str, Any]) -> None:
    quantize.run(quantize_job(made, "0" * 64, tmp_path, **recipe), Reports())
    directory = tmp_path / "artifact"
    shapes.check(directory, safety.check(directory))
    plain = json.loads((directory / safety.CONFIG).read_text())
    del plain["quantization_config"]
    (directory / safety.CONFIG).write_text(json.dumps(plain))
    with pytest.raises(DataError, match=r"declares \(not quantized\)"):
        shapes.check(directory, safety.check(directory))


@pytest.mark.parametrize(("recipe", "says", "spoil"), SPOILT)
def test_a_weight_that_could_not_be_read_later_is_refused_now(
    made: Path, tmp_path: Path, recipe: dict[str, Any], says: str, spoil: Callable[[dict[str, torch.Tensor]], object]
) -> None:
    quantize.run(quantize_job(made, "0" * 64, tmp_path, **recipe), Reports())
    directory = tmp_path / "artifact"
    tensors = load_file(directory / safety.SINGLE)
    at = "model.layers.0.self_attn.o_proj."
    stored = {name.removeprefix(at): tensors.pop(name) for name in list(tensors) if name.startswith(at)}
    spoil(stored)
    save_file(
        tensors | {f"{at}{part}": tensor.contiguous() for part, tensor in stored.items()}, directory / safety.SINGLE
    )
    with pytest.raises(DataError, match=f"o_proj is stored as .*{says}") as caught:
        shapes.check(directory, safety.check(directory))
    assert caught.value.reason == "BadWeights"


def test_scales_of_activations_are_no_part_of_a_weight(made: Path, tmp_path: Path) -> None:
    quantize.run(quantize_job(made, "0" * 64, tmp_path, method="dynamic"), Reports())
    directory = tmp_path / "artifact"
    tensors = load_file(directory / safety.SINGLE)
    tensors["model.layers.0.self_attn.o_proj.input_scale"] = torch.ones(1)
    save_file(tensors, directory / safety.SINGLE)
    shapes.check(directory, safety.check(directory))


def test_every_form_that_is_read_is_one_that_is_admitted() -> None:
    assert frozenset().union(*(form.parts for form in registry.FORMATS)) <= parts.PARTS
    assert all(form.parts & parts.MARKS for form in registry.FORMATS)


@pytest.mark.parametrize(
    ("key", "reason", "says"),
    [
        ("vocab_size", "ShapeMismatch", r"model\.embed_tokens\.weight in model\.safetensors has the shape \[320, 32\]"),
        ("intermediate_size", "ShapeMismatch", r"model\.layers\.0\.mlp\.gate_proj\.weight .* makes it \[\d+, 32\]"),
        ("num_hidden_layers", "BadWeights", r"lack model\.layers\.2\.input_layernorm\.weight, .* more, which a"),
    ],
)
def test_another_models_config(made: Path, tmp_path: Path, key: str, reason: str, says: str) -> None:
    config = json.loads((made / safety.CONFIG).read_text())
    (tmp_path / safety.CONFIG).write_text(json.dumps({**config, key: config[key] + 1}))
    with pytest.raises(DataError, match=says) as caught:
        shapes.check(tmp_path, safety.check(made))
    assert caught.value.reason == reason
