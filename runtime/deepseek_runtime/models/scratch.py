"""A new model: a tokenizer trained on text, and random weights."""

from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PretrainedConfig
from transformers.utils import logging as transformers_logging

from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.job.place import place
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.models import tokenizer
from deepseek_runtime.models.families import FAMILIES
from deepseek_runtime.weights import facts, manifest, seal
from deepseek_runtime.wire.architecture import complete, problems
from deepseek_runtime.wire.job import BuildJob
from deepseek_runtime.wire.result import JobResult

SHARD_SIZE = "4GB"


def run(job: BuildJob, reporter: Reporter) -> JobResult:
    """Make and seal the model; ConfigurationError `InvalidConfig` names every key that is wrong."""
    found = problems(job.architecture, job.config, job.tokenizer.vocab_size)
    if found:
        raise ConfigurationError("InvalidConfig", "; ".join(found) + ".")
    directory = seal.partial(place(job), job.identity)
    trained = tokenizer.train(job.tokenizer.vocab_size, job.tokenizer.text, reporter)
    config = build_config(job.architecture, job.config, trained.get_vocab_size())
    tokenizer.save(trained, directory, config.max_position_embeddings)
    reporter.update("making random weights", unit="steps", done=0, total=2)
    write_model(job.architecture, config, job.seed, directory)
    reporter.update("hashing files", unit="steps", done=1, total=2)
    made = facts.artifact(directory, manifest.write(directory, reporter))
    result = JobResult(kind=job.kind, identity=job.identity, outcome="succeeded", artifact=made)
    return seal.seal(place(job), job.identity, result)


def build_config(architecture: str, config: dict[str, Any], vocab_size: int) -> PretrainedConfig:
    """transformers' configuration; ConfigurationError `InvalidConfig` with what transformers says of it."""
    keys = complete(architecture, config)
    rope = {"rope_type": "default", "rope_theta": float(keys.pop("rope_theta"))}
    bos, eos, pad = range(3)
    family: Any = FAMILIES[architecture]
    try:
        built: PretrainedConfig = family.config_class(
            **keys,
            rope_parameters=rope,
            vocab_size=vocab_size,
            bos_token_id=bos,
            eos_token_id=eos,
            pad_token_id=pad,
        )
        with torch.device("meta"):
            family(built)
    except (ValueError, TypeError, KeyError, RuntimeError, ZeroDivisionError) as error:
        raise ConfigurationError("InvalidConfig", f"transformers cannot build {architecture}: {error}.") from error
    return built


def write_model(architecture: str, config: PretrainedConfig, seed: int, directory: Path) -> None:
    """Random float32 weights as the architecture initializes them, the same for the same seed, in safetensors."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    config.dtype = torch.float32
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = FAMILIES[architecture](config)
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=config.bos_token_id, eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id
    )
    model.save_pretrained(directory, max_shard_size=SHARD_SIZE)
