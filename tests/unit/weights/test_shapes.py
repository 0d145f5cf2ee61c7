"""What config.json says of names and shapes, beside what transformers writes; and what is told of a difference."""

import json
from pathlib import Path

import pytest
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.models import scratch
from deepseek_runtime.quantize import model as quantize
from deepseek_runtime.weights import safety, shapes

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


def test_a_quantized_model_has_the_same_names(made: Path, tmp_path: Path) -> None:
    quantize.run(quantize_job(made, "0" * 64, tmp_path), Reports())
    directory = tmp_path / "artifact"
    shapes.check(directory, safety.check(directory))


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
