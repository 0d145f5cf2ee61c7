"""What a cache takes for each token is what transformers' own caches hold after a forward pass."""

from typing import Any

import pytest
import torch
from deepseek_runtime.wire.attention import BFLOAT16_BYTES, Attention, attention, cache_bytes, sequence_bytes
from hypothesis import example, given, settings
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
V4: dict[str, Any] = {
    "architectures": ["DeepseekV4ForCausalLM"],
    "vocab_size": 64,
    "hidden_size": 48,
    "moe_intermediate_size": 16,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "q_lora_rank": 24,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "o_groups": 2,
    "o_lora_rank": 12,
    "index_n_heads": 2,
    "index_head_dim": 8,
    "index_topk": 2,
    "sliding_window": 8,
    "hc_mult": 2,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
}
RATES = {"compressed_sparse_attention": 4, "heavily_compressed_attention": 16}
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


@pytest.fixture(scope="module")
def deepseek_v4(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """With layers of all three kinds, as transformers loads it: some weights stay in float32."""
    ratios = [0, 4, 128, 4, 128, 0]  # the last is of the head that predicts several tokens
    config = AutoConfig.for_model("deepseek_v4", **{**V4, "compress_ratios": ratios, "compress_rates": RATES})
    path = tmp_path_factory.mktemp("v4")
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16)


@settings(max_examples=12, deadline=None)
@given(tokens=st.integers(1, 70), at_once=st.booleans())
@example(tokens=63, at_once=True)
@example(tokens=63, at_once=False)
def test_deepseek_v4_keeps_no_more_and_little_less(deepseek_v4: Any, tokens: int, at_once: bool) -> None:
    described = attention(deepseek_v4.config.to_dict())
    assert described is not None
    cache, ids = None, torch.arange(tokens)[None] % V4["vocab_size"]
    with torch.no_grad():
        for part in [ids] if at_once else ids.split(9, dim=1):
            cache = deepseek_v4(part, past_key_values=cache, use_cache=True).past_key_values
    assert cache is not None
    kept: list[torch.Tensor] = []
    for layer in cache.layers:
        states = [
            state
            for value in vars(layer).values()
            for state in (value.values() if isinstance(value, dict) else [value])
        ]
        found = [state for state in states if isinstance(state, torch.Tensor) and state.dim() > 2]
        kept += {id(state): state for state in found}.values()
    held = sum(state.numel() * state.element_size() for state in kept)
    per_token, each = cache_bytes(described, 5, 1), sequence_bytes(described)
    assert per_token == cache_bytes(described, 5, 1, ranks=4) == 2 * (2 * (16 + 8) // 4 + 2 * 16 // 16)
    assert held <= tokens * per_token + each
    if tokens >= 16 and tokens % 16 == 15:  # nothing more can wait to be compressed
        assert held == (tokens - 3) * 2 * 2 * (16 + 8) // 4 + (tokens - 15) * 2 * 2 * 16 // 16 + each


def test_deepseek_v4_is_read_in_all_its_ways_of_writing() -> None:
    """As transformers reads them: a schedule by default, by name, or by numbers; rates beside it or within."""
    for more in (
        {},
        {"compress_ratios": [0, 4, 128, 4, 128, 4]},
        {"layer_types": ["sliding_attention", *["heavily_compressed_attention"] * 4]},
        {"compress_rate_csa": 8, "compress_rate_hca": 32},
    ):
        theirs = AutoConfig.for_model("deepseek_v4", **{**V4, **more}).to_dict()
        assert attention({**V4, **more}) == attention(theirs) is not None


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
        {**V4, "compress_ratios": [0, 4, 16, 128, 128]},
        {**V4, "layer_types": ["compressed_sparse_attention"]},
        {**V4, "compress_rates": {"compressed_sparse_attention": 4}},
        {**V4, "o_groups": None},
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
