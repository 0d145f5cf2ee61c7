"""Quantization from Python: every method, sizes in the answer, errors that say what to do, equal calls once."""

from pathlib import Path
from typing import Any

import pytest
from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.quantize import DynamicRouter, Quantizer
from deepseek_runtime.quantize.quantizer import METHODS
from deepseek_runtime.weights import manifest
from deepseek_runtime.weights.load import load_model

from tests.unit.quantize.trained import LENGTH


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_gives_a_sealed_model_that_is_smaller_and_loads(
    method: str, learned: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {}
    if method in ("static", "gptq"):
        settings = {"calibration": [learned.parent / "text.txt"], "samples": 8, "sequence_length": LENGTH}
    if method in ("roundToNearest", "gptq"):
        settings["group_size"] = 16
    quantizer = Quantizer.from_pretrained(learned)
    made = quantizer.quantize(output_path=tmp_path / "out", quantization_method=method, **settings)
    assert made.path == tmp_path / "out" / "artifact"
    assert manifest.verify(made.path, made.digest)
    assert made.ratio == made.weight_bytes_after / made.weight_bytes_before < 0.9
    assert load_model(made.path).config.num_hidden_layers == 2
    again = quantizer.quantize(output_path=tmp_path / "out", quantization_method=method, **settings)
    assert (again.cached, again.digest) == (True, made.digest)


def test_another_model_can_be_named_and_a_model_without_manifest_gets_one(learned: Path, tmp_path: Path) -> None:
    copy = tmp_path / "plain"
    load_model(learned).save_pretrained(copy)
    made = Quantizer.from_pretrained(learned).quantize(
        model_path=copy, output_path=tmp_path / "out", quantization_method="weightOnly"
    )
    assert manifest.read(copy).files
    assert not (made.path / "tokenizer.json").exists()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"quantization_method": "int3"}, "'int3'; it must be one of weightOnly, dynamic, static"),
        ({"quantization_method": "static"}, "needs calibration"),
        ({"quantization_method": "gptq"}, "needs calibration"),
        ({"quantization_method": "weightOnly", "calibration": ["text.txt"]}, "takes no calibration"),
        ({"quantization_method": "roundToNearest", "group_size": 0}, "^group_size is 0; it must be greater than or"),
        ({"quantization_method": "roundToNearest", "group_size": -32}, "^group_size is -32; it must be greater"),
        ({"quantization_method": "roundToNearest", "scope": "expert"}, "^scope is 'expert'; it must be 'all' or"),
        ({"quantization_method": "gptq", "calibration": ["text.txt"], "sequence_length": 1}, "^sequence_length is 1;"),
        ({"quantization_method": "static", "calibration": ["text.txt"], "samples": 0}, "^samples is 0; it must be gre"),
    ],
)
def test_what_cannot_be_done_is_refused(settings: dict[str, Any], says: str, learned: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        Quantizer.from_pretrained(learned).quantize(output_path=tmp_path, **settings)
    assert caught.value.reason == "InvalidConfig"
    assert not (tmp_path / "artifact").exists()


def test_what_is_no_model_is_refused_at_once_and_unknown_parameters_are_errors(learned: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Is it a model"):
        Quantizer.from_pretrained(tmp_path)
    call: Any = Quantizer.from_pretrained(learned).quantize
    with pytest.raises(TypeError, match="bits"):
        call(output_path=tmp_path, quantization_method="weightOnly", bits=3)


def test_the_gate_is_offered_beside_it() -> None:
    assert DynamicRouter(16, 4).weight.shape == (4, 16)
