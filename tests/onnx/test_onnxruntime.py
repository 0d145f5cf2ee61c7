"""onnxruntime and Optimum themselves open what is exported: the same greedy answers, with keys and values kept."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from deepseek_runtime.export.onnx import checkpoint, environment, model
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.serve.tokenizer import Tokenizer
from deepseek_runtime.weights import manifest
from deepseek_runtime.weights.load import load_config, load_model
from deepseek_runtime.wire.result import Export, ExportProof

from tests.unit.export.exported import base, onnx_job
from tests.unit.serve.models import greedy
from tests.unit.tiny import Reports

pytestmark = pytest.mark.timeout(900)  # each test starts several processes that import torch
COUNT = 16
TEXTS = ["Zeile 3: Der schnelle Fuchs", "狐狸 springt über", "faule Hunde"]
ORIGINAL = {"factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 5e5}
OPENED = """
import json, sys
from optimum.onnxruntime import ORTModelForCausalLM
from transformers import AutoTokenizer
directory, count, texts = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
tokenizer, model = AutoTokenizer.from_pretrained(directory), ORTModelForCausalLM.from_pretrained(directory)
answers = []
for text in texts:
    asked = tokenizer(text, return_tensors="pt")
    made = model.generate(**asked, max_new_tokens=count, min_new_tokens=count, do_sample=False)
    answers.append([asked["input_ids"][0].tolist(), made[0, asked["input_ids"].shape[1]:].tolist()])
print(json.dumps(answers))
"""


def opened(directory: Path) -> list[list[list[int]]]:
    """Prompts and greedy answers, as a user's own program has them who installed optimum-onnx."""
    command = [sys.executable, "-P", "-c", OPENED, str(directory), str(COUNT), *TEXTS]
    done = subprocess.run(command, env=environment.variables(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    answers: list[list[list[int]]] = json.loads(done.stdout)
    return answers


def exported(source: Path, output: Path, **changes: object) -> tuple[Export, ExportProof]:
    result = model.run(onnx_job(source, output, **changes), Reports())
    assert result.export is not None
    assert result.export.proof is not None
    return result.export, result.export.proof


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"tie_word_embeddings": False, "num_key_value_heads": 4},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e5}},
        {"rope_parameters": {"rope_type": "yarn", **ORIGINAL}},
        {"rope_parameters": {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0, **ORIGINAL}},
    ],
    ids=["tied", "untied", "theta", "linear", "yarn", "llama3"],
)
def test_float32_is_the_model(change: dict[str, Any], tmp_path: Path) -> None:
    rope = {name: change[name] for name in change if name == "rope_parameters"}
    source = base(tmp_path, "Llama", **{name: value for name, value in change.items() if name not in rope})
    config = json.loads((source / "config.json").read_text("utf-8"))
    (source / "config.json").write_text(json.dumps({**config, **rope}), "utf-8")
    manifest.write(source)
    _, proof = exported(source, tmp_path / "out")
    assert proof.top1_agreement == 1
    assert proof.largest_difference < 1e-5
    tokenizer, loaded = Tokenizer(source, load_config(source)), load_model(source, torch.float32)
    for text, (prompt, answer) in zip(TEXTS, opened(tmp_path / "out" / "artifact"), strict=True):
        assert prompt == tokenizer.encode(text)
        assert answer == greedy(loaded, prompt, COUNT)


def test_positions_that_were_read_otherwise_are_never_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers 4 takes a theta of 10,000 where it does not find it by its old name."""
    source = base(tmp_path, "Llama", rope_theta=5e5)
    monkeypatch.setattr(checkpoint, "translated", lambda config: {**config, "rope_theta": 1e4})
    with pytest.raises(DataError, match="computes something else"):
        exported(source, tmp_path / "out")
    assert not (tmp_path / "out" / "result.json").exists()
    assert not (tmp_path / "out" / "artifact").exists()


def test_int8_is_calibrated_and_close_and_smaller_and_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = base(tmp_path, "Llama", hidden_size=128, intermediate_size=352)
    calibration = {"text": [str(tmp_path / "text.txt")], "samples": 16, "sequenceLength": 48}
    plain, _ = exported(source, tmp_path / "float32")
    export, proof = exported(source, tmp_path / "int8", type="int8", calibration=calibration)
    monkeypatch.setenv(environment.VARIABLE, str(environment.directory()))
    monkeypatch.chdir(tmp_path)
    again, _ = exported(source.relative_to(tmp_path), Path("again"), type="int8", calibration=calibration)
    assert export.sha256 == again.sha256
    assert export.weight_bytes_after < 0.5 * plain.weight_bytes_after
    assert export.calibration is not None
    assert (export.calibration.sequences, export.calibration.tokens) == (16, 768)
    assert proof.kl_divergence < 0.01
    assert proof.top1_agreement > 0.9
    assert [len(answer) for _, answer in opened(tmp_path / "int8" / "artifact")] == [COUNT] * len(TEXTS)
