"""Architectures that this runtime does not compute and whose size it knows: what they take where they are served.

DeepSeek-V3.2, DeepSeek-V4 and the Qwen2 of R1's distills, as transformers 5.23 has them.
"""

from collections.abc import Mapping
from typing import Any

from deepseek_runtime.wire.architecture import parameters
from deepseek_runtime.wire.attention import (
    BFLOAT16_BYTES,
    FLOAT32_BYTES,
    HEAVY,
    SPARSE,
    attention,
    layer_types,
    rates,
)
from deepseek_runtime.wire.result import Architecture

_HIGHEST = 1 << 26
_MOST_LAYERS = 1024
"""Beyond these it is no model's config.json, and what follows from it would fit no status."""


def architecture(config: Mapping[str, Any]) -> Architecture | None:
    """What a config.json of such a family describes; None where its size is not known for certain."""
    name, kept = (config.get("architectures") or [None])[0], attention(config)
    if name not in _COUNTED or kept is None or any(type(each) is int and each > _HIGHEST for each in config.values()):
        return None
    try:
        count, unsplit = _COUNTED[name](config)
        found = Architecture(
            name=name,
            parameters=count,
            layers=config["num_hidden_layers"],
            hidden_size=config["hidden_size"],
            attention_heads=config["num_attention_heads"],
            key_value_heads=config["num_key_value_heads"],
            intermediate_size=0 if name == "DeepseekV4ForCausalLM" else config["intermediate_size"],
            routed_experts=config.get("n_routed_experts", 0),
            moe_intermediate_size=config.get("moe_intermediate_size", 0),
            vocab_size=config["vocab_size"],
            context_length=config["max_position_embeddings"],
            attention=kept,
            unsplit_bytes=unsplit,
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return found if 0 < found.layers <= _MOST_LAYERS and min(found.parameters, found.hidden_size) > 0 else None


def _qwen2(c: Mapping[str, Any]) -> tuple[int, int]:
    """A Llama whose queries, keys and values have biases; it is split as one."""
    head = c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
    biases = (c["num_attention_heads"] + 2 * c["num_key_value_heads"]) * head
    return parameters("Llama", c, c["vocab_size"]) + c["num_hidden_layers"] * biases, 0


def _v32(c: Mapping[str, Any]) -> tuple[int, int]:
    """A DeepSeek-V3 with an indexer in each layer (arXiv:2512.02556), which lies whole on every rank."""
    layers, hidden, rank, latent = (
        c[key] for key in ("num_hidden_layers", "hidden_size", "q_lora_rank", "kv_lora_rank")
    )
    heads, width = c["index_n_heads"], c["index_head_dim"]
    indexer = rank * heads * width + hidden * width + 2 * width + hidden * heads
    down = hidden * (rank + latent + c["qk_rope_head_dim"])
    norms = 2 * hidden + rank + latent
    unsplit = hidden + layers * (indexer + down + norms + hidden * c["n_routed_experts"])
    return parameters("DeepSeekV3", c, c["vocab_size"]) + layers * indexer, unsplit * BFLOAT16_BYTES


def _v4(c: Mapping[str, Any]) -> tuple[int, int]:
    """All but the routed experts lies whole on every rank, as in transformers' own plan; what mixes the streams of the
    residual, norms and positions stay in float32."""
    hidden, head, heads, streams = (c[key] for key in ("hidden_size", "head_dim", "num_attention_heads", "hc_mult"))
    layers, rank, groups, output = (c[key] for key in ("num_hidden_layers", "q_lora_rank", "o_groups", "o_lora_rank"))
    index, sparse_rate, heavy_rate = c["index_head_dim"], *rates(c)
    types = layer_types(c) or ()
    sparse, heavy = types.count(SPARSE), types.count(HEAVY)
    query, key_value = hidden * rank + rank * heads * head, hidden * head
    grouped = heads * head // groups * groups * output + groups * output * hidden
    scorer = rank * c["index_n_heads"] * index + hidden * c["index_n_heads"]
    expert = 3 * hidden * c["moe_intermediate_size"]
    ways = 1 if c["tie_word_embeddings"] else 2
    plain = (
        ways * c["vocab_size"] * hidden
        + layers * (query + key_value + grouped + expert + hidden * c["n_routed_experts"])
        + sparse * (4 * hidden * (head + index) + scorer)
        + heavy * 2 * hidden * head
    )
    mixer = (2 + streams) * streams
    exact = (
        hidden
        + streams * (streams * hidden + 1)
        + 1
        + layers * (2 * hidden + rank + head + heads + 2 * (mixer * (streams * hidden + 1) + 3))
        + sparse * (sparse_rate * 2 * (head + index) + head + index)
        + heavy * (heavy_rate * head + head)
    )
    routed = layers * c["n_routed_experts"] * expert
    return plain + exact + routed, plain * BFLOAT16_BYTES + exact * FLOAT32_BYTES


_COUNTED = {"Qwen2ForCausalLM": _qwen2, "DeepseekV32ForCausalLM": _v32, "DeepseekV4ForCausalLM": _v4}
"""Parameters, and bytes of bfloat16 and float32 that lie whole on every tensor-parallel rank; 0: as a Llama's."""
