"""What a cache takes for each token is what transformers' own caches hold after a forward pass."""

from typing import Any

import pytest
import torch
from deepseek_runtime.wire.attention import BFLOAT16_BYTES, Attention, attention, cache_bytes
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM

V3 = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_rope_head_dim": 64,
    "num_attention_heads": 128,
}
TINY: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}
LATENT = {
    "kv_lora_rank": 24,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "moe_intermediate_size": 16,
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "deepseek_v2": ("DeepseekV2ForCausalLM", LATENT),
    "deepseek_v3": ("DeepseekV3ForCausalLM", LATENT),
    "deepseek_v32": ("DeepseekV32ForCausalLM", {**LATENT, "index_head_dim": 16, "index_n_heads": 2, "index_topk": 4}),
    "llama": ("LlamaForCausalLM", {"num_key_value_heads": 2, "head_dim": 12}),
    "qwen2": ("Qwen2ForCausalLM", {"num_key_value_heads": 2}),
}


def test_the_published_sizes() -> None:
    """DeepSeek-V3: 61 layers of 512 + 64 numbers; V3.2: 128 more of the indexer."""
    latent = attention(V3)
    indexed = attention({**V3, "architectures": ["DeepseekV32ForCausalLM"], "index_head_dim": 128})
    assert latent is not None
    assert indexed is not None
    assert cache_bytes(latent, 61, 128) == cache_bytes(latent, 61, 128, ranks=8) == 70_272
    assert cache_bytes(indexed, 61, 128) == 85_888


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_what_transformers_keeps(family: str) -> None:
    name, more = FAMILIES[family]
    config = AutoConfig.for_model(family, architectures=[name], **{**TINY, **more})
    described = attention(config.to_dict())
    assert described is not None
    tokens = 5
    with torch.no_grad():
        cache = AutoModelForCausalLM.from_config(config)(torch.arange(tokens)[None], use_cache=True).past_key_values
    kept = [value for layer in cache.layers for value in vars(layer).values() if isinstance(value, torch.Tensor)]
    held = sum(value.numel() for value in kept if value.dim() > 2)
    assert cache_bytes(described, 3, config.num_key_value_heads) == held // tokens * BFLOAT16_BYTES


@given(heads=st.integers(1, 64), head=st.integers(1, 256), ranks=st.integers(1, 64))
def test_ranks_hold_all_heads_together_and_none_holds_less_than_one(heads: int, head: int, ranks: int) -> None:
    grouped = Attention(kind="groupedQuery", head_dim=head)
    whole, share = cache_bytes(grouped, 7, heads), cache_bytes(grouped, 7, heads, ranks)
    assert whole is not None
    assert share is not None
    assert share * ranks >= whole
    assert share >= cache_bytes(grouped, 7, 1)  # type: ignore[operator]


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"architectures": ["DeepseekV4ForCausalLM"], "head_dim": 512, "num_attention_heads": 64},
        {"architectures": ["MistralForCausalLM"], "hidden_size": 4096, "num_attention_heads": 32},
        {
            "architectures": ["Qwen2ForCausalLM"],
            "hidden_size": 64,
            "num_attention_heads": 4,
            "use_sliding_window": True,
        },
        {**V3, "kv_lora_rank": None},
        {**V3, "qk_rope_head_dim": "64"},
        {**V3, "kv_lora_rank": True},
        {**V3, "architectures": ["DeepseekV32ForCausalLM"]},
        {"architectures": ["LlamaForCausalLM"], "hidden_size": 64},
    ],
)
def test_what_is_not_certain_is_unknown(config: dict[str, Any]) -> None:
    assert attention(config) is None


def test_a_kind_of_a_newer_runtime_is_unknown() -> None:
    assert cache_bytes(Attention(kind="quantum", head_dim=64), 61, 8) is None
