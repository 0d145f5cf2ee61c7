"""Tiny models with random weights on disk, and what transformers generates with them."""

import json
import warnings
from pathlib import Path

import torch
from deepseek_runtime.weights import manifest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    DeepseekV2Config,
    DeepseekV2ForCausalLM,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

VOCABULARY = 384
BEGIN, END = 0, 1
TEXT = ["the quick brown fox jumps over the lazy dog, 中文字符也在这里, naïve café " * 3]
CHAT_TEMPLATE = """{{ bos_token }}
{%- for message in messages %}
    {%- if message.role == 'system' and not loop.first %}{{ raise_exception('System comes first.') }}{% endif %}
    {%- if message.content == 'for ever' %}
        {%- for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}
    {%- endif %}
    {{- message.role + ': ' + message.content | trim + eos_token }}
{%- endfor %}
{%- if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}
"""

_LATENT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "intermediate_size": 96,
    "moe_intermediate_size": 32,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "max_position_embeddings": 512,
    "routed_scaling_factor": 2.5,
    "bos_token_id": BEGIN,
    "eos_token_id": END,
    "pad_token_id": END,
}
_YARN = {
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 128,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "rope_theta": 10000.0,
}

CONFIGS = {
    "v3": DeepseekV3Config(**_LATENT, q_lora_rank=48, n_group=4, topk_group=2, rope_parameters=_YARN),
    "v2": DeepseekV2Config(
        **{**_LATENT, "routed_scaling_factor": 1.0, "n_shared_experts": 2}, q_lora_rank=None, n_group=1, topk_group=1,
        topk_method="greedy", norm_topk_prob=False,
    ),
    "llama": LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, bos_token_id=BEGIN, eos_token_id=END, pad_token_id=END,
        tie_word_embeddings=True,
    ),
}  # fmt: skip
_CLASSES = {"v3": DeepseekV3ForCausalLM, "v2": DeepseekV2ForCausalLM, "llama": LlamaForCausalLM}


def make_model(name: str, directory: Path) -> str:
    """A sealed model; returns its manifest's digest. The router's bias is random, else groups would go untested."""
    torch.manual_seed(7)
    model = _CLASSES[name](CONFIGS[name])
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.5 if "embed" in key else 0.1)
        for key, buffer in model.named_buffers():
            if "e_score_correction_bias" in key:
                buffer.normal_(0, 0.1)
    with warnings.catch_warnings(action="ignore"):
        model.save_pretrained(directory)
    make_tokenizer().save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin|>", "eos_token": "<|end|>"})
    )
    return manifest.write(directory).digest


def make_tokenizer() -> Tokenizer:
    """Byte-level BPE that puts <|begin|> first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|begin|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", special_tokens=[("<|begin|>", BEGIN)]
    )
    return tokenizer


def greedy(model: PreTrainedModel, prompt: list[int], count: int) -> list[int]:
    """What transformers generates, end tokens ignored."""
    tokens = torch.tensor([prompt])
    with torch.inference_mode():
        answer = model.generate(
            tokens, attention_mask=torch.ones_like(tokens), do_sample=False, max_new_tokens=count,
            min_new_tokens=count, pad_token_id=END, eos_token_id=None,
        )  # fmt: skip
    return answer[0, len(prompt) :].tolist()
