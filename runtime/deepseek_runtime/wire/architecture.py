"""What may stand in a new model's config, and how many parameters follow from it, without building the model.

The keys, defaults and parameter shapes are those of transformers 5.23 (`modeling_deepseek_v3`, `modeling_deepseek_v2`,
`modeling_llama`); the operator refuses with these functions what a Job would only find out minutes later.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Value = int | float | bool | str | None


@dataclass(frozen=True, slots=True)
class Key:
    """One key of config.json: its default, whose type is the key's type, and the values that make sense."""

    default: Value
    low: float = 0
    high: float = 0
    choices: tuple[str, ...] = ()
    optional: type[int] | None = None  # the type where null is allowed too


def _size(default: int, high: int = 1_048_576) -> Key:
    return Key(default, 1, high)


_COMMON = {
    "hidden_act": Key("silu", choices=("silu",)),
    "initializer_range": Key(0.02, 1e-6, 1.0),
    "rms_norm_eps": Key(1e-6, 1e-12, 1e-2),
    "rope_theta": Key(10000.0, 1.0, 1e9),
    "tie_word_embeddings": Key(False),
}

_LATENT_ATTENTION = {
    "kv_lora_rank": _size(512, 65536),
    "q_lora_rank": Key(1536, 1, 65536, optional=int),
    "qk_nope_head_dim": _size(128, 4096),
    "qk_rope_head_dim": _size(64, 4096),
    "v_head_dim": _size(128, 4096),
}

KEYS: dict[str, dict[str, Key]] = {
    "DeepSeekV3": {
        **_COMMON,
        **_LATENT_ATTENTION,
        "hidden_size": _size(7168),
        "intermediate_size": _size(18432),
        "num_hidden_layers": _size(61, 1024),
        "num_attention_heads": _size(128, 4096),
        "num_key_value_heads": Key(None, 1, 4096, optional=int),
        "max_position_embeddings": Key(4096, 16, 16_777_216),
        "moe_intermediate_size": _size(2048),
        "n_routed_experts": _size(256, 65536),
        "n_shared_experts": _size(1, 1024),
        "num_experts_per_tok": _size(8, 65536),
        "n_group": _size(8, 65536),
        "topk_group": _size(4, 65536),
        "first_k_dense_replace": Key(3, 0, 1024),
        "norm_topk_prob": Key(True),
        "routed_scaling_factor": Key(2.5, 1e-6, 1e6),
        "rope_interleave": Key(True),
    },
    "DeepSeekV2": {
        **_COMMON,
        **_LATENT_ATTENTION,
        "hidden_size": _size(4096),
        "intermediate_size": _size(11008),
        "num_hidden_layers": _size(32, 1024),
        "num_attention_heads": _size(32, 4096),
        "num_key_value_heads": Key(None, 1, 4096, optional=int),
        "max_position_embeddings": Key(2048, 16, 16_777_216),
        "moe_intermediate_size": _size(1407),
        "n_routed_experts": _size(64, 65536),
        "n_shared_experts": _size(2, 1024),
        "num_experts_per_tok": Key(None, 1, 65536, optional=int),
        "topk_method": Key("greedy", choices=("greedy", "group_limited_greedy")),
        "n_group": Key(None, 1, 65536, optional=int),
        "topk_group": Key(None, 1, 65536, optional=int),
        "first_k_dense_replace": Key(0, 0, 1024),
        "norm_topk_prob": Key(False),
        "routed_scaling_factor": Key(1.0, 1e-6, 1e6),
    },
    "Llama": {
        **_COMMON,
        "hidden_size": _size(4096),
        "intermediate_size": _size(11008),
        "num_hidden_layers": _size(32, 1024),
        "num_attention_heads": _size(32, 4096),
        "num_key_value_heads": Key(None, 1, 4096, optional=int),
        "head_dim": Key(None, 1, 4096, optional=int),
        "max_position_embeddings": Key(2048, 16, 16_777_216),
    },
}


FAMILIES = {
    "DeepseekV3ForCausalLM": "DeepSeekV3",
    "DeepseekV2ForCausalLM": "DeepSeekV2",
    "LlamaForCausalLM": "Llama",
}
"""From the name in config.json to the name in a DeepSeekModel."""

DENSE = frozenset({"LlamaForCausalLM"})
"""Of the names in config.json those of models without routed experts."""


def complete(architecture: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with every default filled in, and with what follows from other keys.

    transformers gives DeepSeekV3 128 key-value heads whatever the attention heads; here they follow the heads.
    """
    full: dict[str, Any] = {name: key.default for name, key in KEYS[architecture].items()} | dict(config)
    if full["num_key_value_heads"] is None:
        full["num_key_value_heads"] = full["num_attention_heads"]
    if architecture == "Llama" and full["head_dim"] is None:
        full["head_dim"] = full["hidden_size"] // full["num_attention_heads"]
    return full


def problems(architecture: str, config: Mapping[str, Any], vocab_size: int) -> tuple[str, ...]:
    """Everything that is wrong with a config, each with what to do; empty: transformers can build it."""
    if architecture not in KEYS:
        return (f"architecture {architecture!r} is unknown; it can be {_listed(sorted(KEYS))}",)
    found = [problem for name in sorted(config) for problem in _key_problems(architecture, name, config[name])]
    if vocab_size < 1:
        found.append(f"vocab_size is {vocab_size}; it must be at least 1")
    # Relations between keys make sense only where each key does.
    return tuple(found or _RELATIONS[architecture](complete(architecture, config)))


def parameters(architecture: str, config: Mapping[str, Any], vocab_size: int) -> int:
    """How many parameters the model has; the config must have no problems."""
    c: Mapping[str, int] = complete(architecture, config)
    hidden, layers = c["hidden_size"], c["num_hidden_layers"]
    embeddings = vocab_size * hidden * (1 if c["tie_word_embeddings"] else 2)
    dense = 3 * hidden * c["intermediate_size"]
    if architecture == "Llama":
        heads = 2 * (c["num_attention_heads"] + c["num_key_value_heads"])  # query and output, key and value
        return embeddings + hidden + layers * (2 * hidden + heads * c["head_dim"] * hidden + dense)
    dense_layers = min(c["first_k_dense_replace"], layers)
    experts = (c["n_routed_experts"] + c["n_shared_experts"]) * 3 * hidden * c["moe_intermediate_size"]
    router = c["n_routed_experts"] * hidden
    return (
        embeddings
        + hidden
        + layers * (2 * hidden + _latent_attention(c))
        + dense_layers * dense
        + (layers - dense_layers) * (experts + router)
    )


def _latent_attention(c: Mapping[str, Any]) -> int:
    """Parameters of one multi-head latent attention (DeepSeek-AI, 2024, arXiv 2405.04434)."""
    hidden, heads, latent, q_rank = c["hidden_size"], c["num_attention_heads"], c["kv_lora_rank"], c["q_lora_rank"]
    query_dim = heads * (c["qk_nope_head_dim"] + c["qk_rope_head_dim"])
    query = hidden * query_dim if q_rank is None else hidden * q_rank + q_rank + q_rank * query_dim
    down = hidden * (latent + c["qk_rope_head_dim"]) + latent
    up = latent * heads * (c["qk_nope_head_dim"] + c["v_head_dim"])
    return int(query + down + up + heads * c["v_head_dim"] * hidden)


def _key_problems(architecture: str, name: str, value: object) -> Iterator[str]:
    key = KEYS[architecture].get(name)
    if name == "vocab_size":
        yield "config.vocab_size cannot be set: it comes from tokenizer.vocabSize"
    elif key is None:
        yield f"config.{name} is not a key of {architecture}; it has {_listed(sorted(KEYS[architecture]))}"
    elif not _has_type(key, value):
        yield f"config.{name} is {value!r}; it must be {_type_name(key)}"
    elif key.choices and value not in key.choices:
        yield f"config.{name} is {value!r}; it can be {_listed(key.choices)}"
    elif isinstance(value, int | float) and not isinstance(value, bool) and not key.low <= value <= key.high:
        yield f"config.{name} is {value}; it must be from {key.low:g} to {key.high:.12g}"


def _has_type(key: Key, value: object) -> bool:
    if value is None:
        return key.optional is not None
    expected = key.optional or type(key.default)
    if isinstance(value, bool) or expected is bool:
        return isinstance(value, bool) and expected is bool
    return isinstance(value, int | float) if expected is float else isinstance(value, expected)


def _type_name(key: Key) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}
    return names[key.optional or type(key.default)] + (" or null" if key.optional else "")


def _divides(c: Mapping[str, Any], part: str, whole: str) -> Iterator[str]:
    if c[whole] % c[part]:
        yield f"config.{whole} is {c[whole]}; it must be a multiple of config.{part}, which is {c[part]}"


def _latent_relations(c: Mapping[str, Any]) -> Iterator[str]:
    heads = c["num_attention_heads"]
    if c["num_key_value_heads"] != heads:
        yield (
            f"config.num_key_value_heads is {c['num_key_value_heads']}; latent attention has one for each attention "
            f"head: leave it out or set it to {heads}"
        )
    if c["qk_rope_head_dim"] % 2:
        yield f"config.qk_rope_head_dim is {c['qk_rope_head_dim']}; rotary embedding needs an even number"


def _expert_relations(c: Mapping[str, Any], smallest_group: int) -> Iterator[str]:
    """Routing within `topk_group` of `n_group` groups of experts."""
    chosen, experts, groups = c["num_experts_per_tok"], c["n_routed_experts"], c["n_group"]
    yield from _divides(c, "n_group", "n_routed_experts")
    if experts // groups < smallest_group:
        yield (
            f"config.n_group {groups} leaves {experts // groups} of {experts} experts in a group; it must leave at "
            f"least {smallest_group}: lower n_group or raise n_routed_experts"
        )
    if c["topk_group"] > groups:
        yield f"config.topk_group is {c['topk_group']}; it must be at most config.n_group, which is {groups}"
    elif chosen > (reachable := c["topk_group"] * (experts // groups)):
        yield (
            f"config.num_experts_per_tok is {chosen}, but topk_group of n_group leaves {reachable} experts to choose "
            "from; lower it or raise topk_group"
        )


def _v3_relations(c: Mapping[str, Any]) -> Iterator[str]:
    yield from _latent_relations(c)
    yield from _expert_relations(c, smallest_group=2)  # a group is scored by its best two experts


def _v2_relations(c: Mapping[str, Any]) -> Iterator[str]:
    yield from _divides(c, "num_attention_heads", "hidden_size")
    yield from _latent_relations(c)
    if c["num_experts_per_tok"] is None:
        yield f"config.num_experts_per_tok must be given, from 1 to n_routed_experts, which is {c['n_routed_experts']}"
    elif c["topk_method"] == "group_limited_greedy":
        if c["n_group"] is None or c["topk_group"] is None:
            yield "config.topk_method group_limited_greedy needs config.n_group and config.topk_group"
        else:
            yield from _expert_relations(c, smallest_group=1)
    elif c["num_experts_per_tok"] > c["n_routed_experts"]:
        yield (
            f"config.num_experts_per_tok is {c['num_experts_per_tok']}; it must be at most config.n_routed_experts, "
            f"which is {c['n_routed_experts']}"
        )


def _llama_relations(c: Mapping[str, Any]) -> Iterator[str]:
    yield from _divides(c, "num_attention_heads", "hidden_size")
    yield from _divides(c, "num_key_value_heads", "num_attention_heads")
    if c["head_dim"] % 2:
        yield f"config.head_dim is {c['head_dim']}; rotary embedding needs an even number"


_RELATIONS: dict[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "DeepSeekV3": _v3_relations,
    "DeepSeekV2": _v2_relations,
    "Llama": _llama_relations,
}


def _listed(values: tuple[str, ...] | list[str]) -> str:
    return ", ".join(values[:-1]) + f" or {values[-1]}" if len(values) > 1 else values[0]
