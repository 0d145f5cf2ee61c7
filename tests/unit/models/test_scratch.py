"""A new model is the same for the same job, loads in plain transformers, and a wrong config is refused by its key."""

from pathlib import Path

import pytest
from deepseek_runtime.job import run
from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.models import publish, scratch, tokenizer
from deepseek_runtime.weights import manifest
from deepseek_runtime.wire.architecture import parameters
from deepseek_runtime.wire.exit_codes import ExitCode
from deepseek_runtime.wire.job import PublishJob
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from tests.unit.tiny import CONFIGS, TEXT, Reports, build_job


@pytest.mark.parametrize("architecture", sorted(CONFIGS))
def test_a_new_model_loads_in_transformers_and_its_facts_are_right(tmp_path: Path, architecture: str) -> None:
    reports = Reports()
    result = scratch.run(build_job(tmp_path, architecture), reports)
    directory = tmp_path / "volume" / "artifact"
    assert result.artifact is not None
    facts = result.artifact.architecture
    model = AutoModelForCausalLM.from_pretrained(directory)
    assert facts.name == type(model).__name__
    assert facts.parameters == sum(weight.numel() for weight in model.parameters())
    assert facts.parameters == parameters(architecture, CONFIGS[architecture], facts.vocab_size)
    assert (facts.layers, facts.hidden_size, facts.context_length) == (2, 32, 64)
    assert facts.routed_experts == CONFIGS[architecture].get("n_routed_experts", 0)
    assert result.artifact.dtype == "float32"
    manifest.verify(directory, result.artifact.digest)
    assert {phase for phase, _, _ in reports.seen} >= {"training tokenizer", "making random weights", "hashing files"}


def test_the_tokenizer_gives_text_back_and_its_ids_are_the_models(tmp_path: Path) -> None:
    scratch.run(build_job(tmp_path), Reports())
    directory = tmp_path / "volume" / "artifact"
    loaded = AutoTokenizer.from_pretrained(directory)
    config = AutoConfig.from_pretrained(directory)
    ids = loaded(TEXT + "never seen: \x00 ñ 🦊")["input_ids"]
    assert loaded.decode(ids, skip_special_tokens=True) == TEXT + "never seen: \x00 ñ 🦊"
    assert ids[0] == config.bos_token_id == loaded.bos_token_id
    assert (loaded.eos_token_id, loaded.pad_token_id) == (config.eos_token_id, config.pad_token_id)
    assert len(loaded) == config.vocab_size == 320
    assert loaded.model_max_length == config.max_position_embeddings


def test_the_same_job_gives_the_same_bytes_and_another_seed_other_weights(tmp_path: Path) -> None:
    digests, weights = [], []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        result = scratch.run(build_job(tmp_path / name).model_copy(update={"seed": seed}), Reports())
        assert result.artifact is not None
        digests.append(result.artifact.digest)
        weights.append(load_file(tmp_path / name / "volume" / "artifact" / "model.safetensors"))
    assert digests[0] == digests[1] != digests[2]
    assert weights[0]["lm_head.weight"].ne(weights[2]["lm_head.weight"]).any()


def test_every_wrong_key_is_named_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        scratch.run(build_job(tmp_path, hidden_sizes=3, num_hidden_layers=0), Reports())
    assert caught.value.reason == "InvalidConfig"
    assert "hidden_sizes" in caught.value.message
    assert "num_hidden_layers" in caught.value.message
    assert not (tmp_path / "volume").exists()


def test_a_vocabulary_without_room_for_the_bytes_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="261"):
        tokenizer.train(258, (), Reports())


def _publish_job(tmp_path: Path) -> PublishJob:
    result = scratch.run(build_job(tmp_path, "Llama"), Reports())
    assert result.artifact is not None
    return PublishJob(
        identity="3" * 64,
        owner="DeepSeekModel/test/copy",
        input=str(tmp_path / "volume" / "artifact"),
        input_digest=result.artifact.digest,
        output=str(tmp_path / "copy"),
    )


def test_a_published_copy_is_byte_for_byte_the_export(tmp_path: Path) -> None:
    job = _publish_job(tmp_path)
    reports = Reports()
    result = publish.run(job, reports)
    assert result.artifact is not None
    assert result.artifact.digest == job.input_digest
    manifest.verify(tmp_path / "copy" / "artifact", job.input_digest)
    assert reports.seen[-1][1] == reports.seen[-1][2] == result.artifact.bytes


def test_a_tampered_export_is_never_published(tmp_path: Path) -> None:
    job = _publish_job(tmp_path)
    weights = tmp_path / "volume" / "artifact" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(DataError, match=str(weights)) as caught:
        publish.run(job, Reports())
    assert caught.value.reason == "DigestMismatch"
    assert not (tmp_path / "copy" / "result.json").exists()


def test_without_its_run_a_copy_that_is_sealed_is_found_and_none_is_invented(tmp_path: Path) -> None:
    job = _publish_job(tmp_path)
    alone = job.model_copy(update={"input": str(tmp_path / "nowhere"), "source": "trainingRun/pretrain/sft"})
    missing, code = run.run(alone, port=0)
    assert (code, missing.reason) == (ExitCode.DATA, "TrainingRunNotFound")
    assert "trainingRun/pretrain/sft is not there" in (missing.message or "")
    made, _ = run.run(job, port=0)
    found, code = run.run(alone, port=0)
    assert (code, found.cached, found.artifact) == (ExitCode.DONE, True, made.artifact)
