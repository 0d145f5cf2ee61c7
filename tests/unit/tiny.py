"""Models of some ten thousand parameters, and the jobs that make them."""

from pathlib import Path
from typing import Any

import torch
from deepseek_runtime.wire.job import BuildJob, QuantizeJob, Tokenizer

torch.set_num_threads(1)  # these models are too small for two threads to gain anything by meeting

LATENT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "moe_intermediate_size": 18,  # a row that fills no whole word of packed values
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
    "q_lora_rank": 12,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "max_position_embeddings": 64,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "DeepSeekV3": {**LATENT, "n_group": 1, "topk_group": 1},
    "DeepSeekV2": {**LATENT, "q_lora_rank": None},
    "Llama": {
        "hidden_size": 32,
        "intermediate_size": 46,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "tie_word_embeddings": True,
    },
}
TEXT = "".join(f"Zeile {n}: Der schnelle Fuchs № {n % 17} springt über {n % 5} faule Hunde. 狐狸\n" for n in range(80))
IDENTITY = "1" * 64


class Reports:
    """A Reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int]] = []

    def update(self, phase: str, *, unit: str, done: int, total: int, **figures: float | None) -> None:
        assert unit
        assert 0 <= done <= total
        self.seen.append((phase, done, total))


def build_job(directory: Path, architecture: str = "DeepSeekV3", **changes: Any) -> BuildJob:
    """A BuildJob on a text that is written into the directory; `changes` replace keys of the config."""
    text = directory / "text.txt"
    text.write_text(TEXT, "utf-8")
    return BuildJob(
        identity=IDENTITY,
        owner="DeepSeekModel/test/tiny",
        output=str(directory / "volume"),
        architecture=architecture,
        config={**CONFIGS[architecture], **changes},
        tokenizer=Tokenizer(vocab_size=320, text=(str(text),)),
        seed=1,
    )


def quantize_job(source: Path, digest: str, output: Path, *ignore: str, **recipe: Any) -> QuantizeJob:
    """A QuantizeJob, to int8 where `recipe` does not say more."""
    return QuantizeJob(
        identity="2" * 64,
        owner="DeepSeekModel/test/tiny",
        output=str(output),
        input=str(source),
        input_digest=digest,
        ignore=ignore,
        **{"scheme": "int8", **recipe},
    )
