"""A DeepSeek-V3 model of a few thousand parameters, its tokenizer and a text, as a training Job finds them."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.weights import manifest
from deepseek_runtime.wire.job import Hyperparameters, TrainJob
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

torch.set_num_threads(1)  # these models are too small for two threads to gain anything by meeting

TEXT = "".join(f"Line {n}: the quick brown fox number {n % 17} jumps over {n % 5} lazy dogs.\n" for n in range(150))


@pytest.fixture(scope="session")
def seed_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed model with random weights."""
    directory: Path = tmp_path_factory.mktemp("seed")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<|begin|>", "<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>", "bos_token": "<|begin|>"}))
    config = DeepseekV3Config(
        vocab_size=320, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        intermediate_size=64, moe_intermediate_size=16, n_routed_experts=4, num_experts_per_tok=2, n_shared_experts=1,
        n_group=1, topk_group=1, first_k_dense_replace=1, q_lora_rank=16, kv_lora_rank=16, qk_nope_head_dim=8,
        qk_rope_head_dim=8, v_head_dim=8, max_position_embeddings=64, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    torch.manual_seed(0)
    with warnings.catch_warnings(action="ignore"):
        DeepseekV3ForCausalLM(config).save_pretrained(directory)
    manifest.write(directory)
    return directory


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "train.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def job(seed_model: Path, text: Path, tmp_path: Path) -> TrainJob:
    return make_job(seed_model, text, tmp_path / "output")


def make_job(seed_model: Path, text: Path, output: Path, **changes: Any) -> TrainJob:
    """Twelve steps with a checkpoint after each six."""
    fields: dict[str, Any] = {
        "identity": "ab" * 32,
        "owner": "TrainingRun/test/run",
        "output": str(output),
        "stage": "pretrain",
        "input": str(seed_model),
        "input_digest": manifest.read(seed_model).digest,
        "data": (str(text),),
        "steps": 12,
        "checkpoint_every_steps": 6,
        "hyperparameters": hyperparameters(),
    }
    return TrainJob(**(fields | changes))


def hyperparameters(**changes: Any) -> Hyperparameters:
    fields: dict[str, Any] = {
        "learning_rate": 3e-3,
        "min_learning_rate_ratio": 0.1,
        "warmup_steps": 3,
        "batch_size": 4,
        "sequence_length": 16,
        "weight_decay": 0.1,
        "gradient_clip": 1.0,
        "beta1": 0.9,
        "beta2": 0.95,
        "precision": "float32",
        "seed": 7,
    }
    return Hyperparameters(**(fields | changes))


class Recorder(Reporter):
    """Keeps what was reported, and calls a function at the first report whose phase it waits for."""

    def __init__(self, phase: str = "", act: Any = None) -> None:
        self.phases: list[str] = []
        self.last: dict[str, Any] = {}
        self._phase, self._act = phase, act

    def update(self, phase: str, **figures: Any) -> None:
        if phase not in self.phases:
            self.phases.append(phase)
        self.last = {"phase": phase, **figures}
        if self._act and phase == self._phase:
            act, self._act = self._act, None
            act()
