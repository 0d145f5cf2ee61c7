"""What of the export to ONNX needs no onnxruntime: what is refused, what is translated, what an answer must be."""

import errno
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
import torch
from deepseek_runtime.export import model as formats
from deepseek_runtime.export.onnx import checkpoint, environment, proof
from deepseek_runtime.export.onnx import model as exporting
from deepseek_runtime.job.errors import ConfigurationError, DataError, JobError
from deepseek_runtime.job.failures import OutOfMemoryError, Terminated
from deepseek_runtime.weights.load import load_model
from transformers import LlamaConfig

from tests.unit.export.exported import base, onnx_job
from tests.unit.tiny import CONFIGS, Reports


@pytest.mark.parametrize("architecture", sorted(set(CONFIGS) - {"Llama"}))
def test_a_mixture_of_experts_is_refused_with_the_way_out(architecture: str, tmp_path: Path) -> None:
    source = base(tmp_path, architecture)
    with pytest.raises(DataError, match=r"mixture of experts.* Take export\.gguf") as error:
        exporting.run(onnx_job(source, tmp_path / "out"), Reports())
    assert error.value.reason == "UnsupportedExport"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("format_", [{"format": "onnx", "type": "float32"}, {"format": "gguf", "type": "f16"}])
def test_a_family_that_is_not_computed_here_is_refused_by_its_name(format_: dict[str, str], tmp_path: Path) -> None:
    source = base(tmp_path, "Llama")
    config = json.loads((source / "config.json").read_text("utf-8"))
    other = {**config, "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}
    (source / "config.json").write_text(json.dumps(other), "utf-8")
    with pytest.raises(ConfigurationError, match=r"Qwen2ForCausalLM; this runtime has .*LlamaForCausalLM") as error:
        formats.run(onnx_job(source, tmp_path / "out", **format_), Reports())
    assert error.value.reason == "UnknownArchitecture"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "int8"}, "int8 needs calibration"),
        ({"calibration": {"text": ["text.txt"]}}, "float32 takes no calibration"),
        ({"format": "gguf", "type": "f16", "calibration": {"text": ["text.txt"]}}, "f16 takes no calibration"),
        ({"type": "f16"}, "onnx has the types float32, int8; f16 is none"),
        ({"format": "gguf"}, "gguf has the types f16, q8_0, q4_0; float32 is none"),
    ],
)
def test_what_a_format_does_not_have_is_refused(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=message):
        formats.run(onnx_job(base(tmp_path, "Llama"), tmp_path / "out", **changes), Reports())
    assert not (tmp_path / "out").exists()


def test_without_its_environment_the_way_to_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = base(tmp_path, "Llama")
    monkeypatch.setenv(environment.VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(ConfigurationError, match=r"requirements-onnx\.lock") as error:
        exporting.run(onnx_job(source, tmp_path / "out"), Reports())
    assert error.value.reason == "ExportEnvironmentMissing"


@pytest.mark.parametrize(
    ("change", "size", "message"),
    [
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}, 0, "scaled by dynamic"),
        ({}, 1 << 31, "less than 2 GiB"),
    ],
)
def test_what_a_graph_cannot_be_is_refused(change: dict[str, object], size: int, message: str) -> None:
    config = LlamaConfig(architectures=["LlamaForCausalLM"], **change)
    with pytest.raises(DataError, match=message):
        checkpoint.check(config, size)


def test_tied_embeddings_are_twice_in_a_graph() -> None:
    shape = {"architectures": ["LlamaForCausalLM"], "vocab_size": 131072, "hidden_size": 1024}
    untied, tied = (LlamaConfig(**shape, tie_word_embeddings=each) for each in (False, True))
    checkpoint.check(untied, checkpoint.graph_bytes(untied, 480_000_000))
    with pytest.raises(DataError, match="2,456,870,912 bytes"):
        checkpoint.check(tied, checkpoint.graph_bytes(tied, 480_000_000))


def test_positions_are_named_as_the_older_transformers_reads_them() -> None:
    plain = checkpoint.translated(LlamaConfig(rope_parameters={"rope_type": "default", "rope_theta": 5e5}).to_dict())
    assert (plain["rope_theta"], plain["rope_scaling"]) == (5e5, None)
    assert "rope_parameters" not in plain
    scaled = {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e6}
    translated = checkpoint.translated(LlamaConfig(rope_parameters=scaled).to_dict())
    assert (translated["rope_theta"], translated["rope_scaling"]) == (1e6, {"rope_type": "linear", "factor": 4.0})


def test_nothing_that_asks_for_code_reaches_the_other_environment() -> None:
    config = LlamaConfig().to_dict() | {"auto_map": {"AutoModelForCausalLM": "evil.Model"}, "quantization_config": {}}
    assert not {"auto_map", "quantization_config"} & checkpoint.translated(config).keys()


def test_the_tokenizers_class_is_one_that_both_know() -> None:
    found = checkpoint.translated_tokenizer({"tokenizer_class": "TokenizersBackend", "bos_token": "<s>"})
    assert found["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert "token_type_ids" not in found["model_input_names"]
    assert checkpoint.translated_tokenizer({"tokenizer_class": "LlamaTokenizer"}) == {
        "tokenizer_class": "LlamaTokenizer"
    }


def answers(directory: Path, change: Callable[[np.ndarray], np.ndarray]) -> proof.ExportProof:
    logits = np.random.default_rng(5).normal(size=(2, 16, 50)).astype(np.float32) * 4
    np.save(directory / "model.npy", logits)
    np.save(directory / "file.npy", change(logits.copy()).astype(np.float32))
    return proof.compare(directory / "model.npy", directory / "file.npy", "onnxruntime 0")


def test_the_same_logits_are_the_same_model(tmp_path: Path) -> None:
    same = answers(tmp_path, lambda logits: logits)
    assert (same.kl_divergence, same.top1_agreement, same.largest_difference, same.tokens) == (0, 1, 0, 32)
    proof.check("float32", same)


def test_one_logit_that_is_off_is_found(tmp_path: Path) -> None:
    def off(logits: np.ndarray) -> np.ndarray:
        logits[1, 7, 3] += 0.01
        return logits

    found = answers(tmp_path, off)
    with pytest.raises(DataError, match="computes something else") as error:
        proof.check("float32", found)
    assert error.value.reason == "UnfaithfulExport"
    proof.check("int8", found)


def test_int8_that_is_another_model_is_refused(tmp_path: Path) -> None:
    found = answers(tmp_path, lambda logits: logits[:, ::-1])
    assert found.kl_divergence > proof.MOST_NATS
    with pytest.raises(DataError, match="Calibrate with more text"):
        proof.check("int8", found)


def test_logits_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    found = answers(tmp_path, lambda logits: logits * np.nan)
    with pytest.raises(DataError, match="NaN or infinite"):
        proof.check("int8", found)


def test_the_compared_tokens_end_as_the_model_goes_on(tmp_path: Path) -> None:
    model = load_model(base(tmp_path, "Llama"), torch.float32)
    tokens = proof.made_up(model)
    assert torch.equal(tokens, proof.made_up(model))
    with torch.inference_mode():
        likeliest = model(input_ids=tokens, use_cache=False).logits.argmax(-1)
    assert torch.equal(tokens[:, -proof.STEPS :], likeliest[:, -proof.STEPS - 1 : -1])


def program(directory: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs are looked for in another package, `stand_in`, which has one."""
    (directory / "optimum").mkdir()
    (directory / "stand_in").mkdir()
    (directory / "stand_in" / "convert.py").write_text(body, "utf-8")
    monkeypatch.setenv(environment.VARIABLE, str(directory))
    monkeypatch.setattr(environment, "PROGRAMS", "stand_in")


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ("raise MemoryError", OutOfMemoryError, "Memory did not suffice to convert"),
        (f"raise OSError({errno.ENOSPC}, {os.strerror(errno.ENOSPC)!r})", OSError, os.strerror(errno.ENOSPC)),
        ("raise SystemExit('the last word')", JobError, "code 1 and said: the last word"),
    ],
)
def test_how_a_program_ends_is_how_the_job_ends(
    body: str, kind: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, body, monkeypatch)
    with pytest.raises(kind, match=message):
        environment.run("convert", {}, tmp_path)


def test_a_program_has_no_network_to_ask_and_its_packages_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = (
        "import json, os, sys; asked = json.load(open(sys.argv[1])); "
        "json.dump([sys.path[:1], os.environ['HF_HUB_OFFLINE']], open(asked['told'], 'w'))"
    )
    program(tmp_path, body, monkeypatch)
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv(environment.VARIABLE, tmp_path.name)
    environment.run("convert", {"told": str(tmp_path / "told")}, tmp_path)
    assert (tmp_path / "told").read_text() == f'[["{tmp_path}"], "1"]'


def test_a_job_that_is_told_to_stop_leaves_no_program_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt would meet it, writing into the same folder."""
    body = (
        "import os, pathlib, signal, time; pathlib.Path('pid').write_text(str(os.getpid())); "
        "os.kill(os.getppid(), signal.SIGUSR1); time.sleep(60)"
    )
    program(tmp_path, body, monkeypatch)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise Terminated

    earlier = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(Terminated):
            environment.run("convert", {}, tmp_path)
    finally:
        signal.signal(signal.SIGUSR1, earlier)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
