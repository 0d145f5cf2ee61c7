"""A random mixture-of-experts model and its variants, made when a scenario first asks for them."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from deepseek_runtime.models.families import CLASSES
from deepseek_runtime.quantize import model as quantize
from deepseek_runtime.weights import manifest
from deepseek_runtime.wire.job import QuantizeJob
from deepseek_runtime.wire.paths import ARTIFACT
from tokenizers import Tokenizer, models
from transformers import DeepseekV3Config

CONFIG: dict[str, Any] = {
    "vocab_size": 4096,
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "moe_intermediate_size": 704,
    "num_hidden_layers": 10,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "n_routed_experts": 16,
    "num_experts_per_tok": 4,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
    "q_lora_rank": 512,
    "kv_lora_rank": 256,
    "qk_nope_head_dim": 64,
    "qk_rope_head_dim": 32,
    "v_head_dim": 64,
    "max_position_embeddings": 4096,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
"""370 million parameters; embeddings and output layer have the share that they have in models a thousand times larger,
where nearly everything is experts."""

_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "bf16": ("fp32", {"scheme": "bf16"}),
    "int8 weight-only": ("fp32", {"scheme": "int8"}),
    "int8 dynamic": ("fp32", {"scheme": "int8", "method": "dynamic"}),
    "int8 weight-only of bf16": ("bf16", {"scheme": "int8"}),
}


class Quiet:
    """A Reporter that tells nobody."""

    def update(self, phase: str, *, unit: str, done: int, total: int, **figures: Any) -> None:
        pass


def model(scratch: Path, name: str) -> Path:
    """The directory of `fp32` or of one of its variants."""
    home = scratch / name.replace(" ", "-")
    if name == "fp32":
        if not home.exists():
            _random(home)
        return home
    if not home.exists():
        base, recipe = _VARIANTS[name]
        source = model(scratch, base)
        job = QuantizeJob(
            identity="benchmark",
            owner="benchmark",
            input=str(source),
            input_digest=manifest.read(source).digest,
            output=str(home),
            **recipe,
        )
        quantize.run(job, Quiet())
    return home / ARTIFACT


def _random(home: Path) -> None:
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.manual_seed(1)
    config = DeepseekV3Config(**CONFIG, dtype="float32")
    made = CLASSES["DeepseekV3ForCausalLM"](config)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.02)
    with warnings.catch_warnings(action="ignore"):
        made.save_pretrained(home)
    Tokenizer(models.BPE()).save(str(home / "tokenizer.json"))
    (home / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    manifest.write(home)
