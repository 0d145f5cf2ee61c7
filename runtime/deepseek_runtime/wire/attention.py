"""What attention keeps of each token, from config.json alone: the size of a cache before there is one.

Keys and caches are those of transformers 5.23 (`DeepseekV3Attention`, `DeepseekV32Indexer`, `DeepseekV4CSACache`,
`DeepseekV4HCACache`, `LlamaAttention`, `Qwen2Attention`). What is not known for certain is None: a size that nobody can
rely on helps nobody.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import ceil
from typing import Any

from deepseek_runtime.wire.base import WireModel

LATENT = "latent"
INDEXED_LATENT = "indexedLatent"
COMPRESSED = "compressed"
GROUPED_QUERY = "groupedQuery"

_HIGHEST = 1 << 20
"""Of any dimension: what is beyond it is no model's, and sums of it would fit no status."""
_MOST_LAYERS = 1024

BFLOAT16_BYTES = 2
FLOAT32_BYTES = 4

SLIDING, SPARSE, HEAVY = "sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"
_LAYER_TYPES = {0: SLIDING, 4: SPARSE, 128: HEAVY}
"""Of DeepSeek-V4, by the number that its own config.json calls them in `compress_ratios`."""


class Attention(WireModel):
    """The dimensions that the cache and the replicated weights follow from; 0: the kind does not have it."""

    kind: str
    kv_lora_rank: int = 0
    q_lora_rank: int = 0
    qk_rope_head_dim: int = 0
    index_head_dim: int = 0
    head_dim: int = 0
    sliding_window: int = 0  # tokens, the one that is computed among them
    sliding_layers: int = 0  # that have nothing beside the window
    sparse_layers: int = 0  # that also keep an entry, and a key of the indexer, of each sparse_rate tokens
    sparse_rate: int = 0
    heavy_layers: int = 0  # that also keep an entry of each heavy_rate tokens
    heavy_rate: int = 0
    output_groups: int = 0  # of heads, whose outputs are projected together


def attention(config: Mapping[str, Any]) -> Attention | None:
    """The attention that a config.json describes; None where the size of its cache is not known."""
    name = (config.get("architectures") or [None])[0]
    match name:
        case "DeepseekV2ForCausalLM" | "DeepseekV3ForCausalLM":
            return _latent(LATENT, config)
        case "DeepseekV32ForCausalLM":
            found = _latent(INDEXED_LATENT, config)
            index = _size(config.get("index_head_dim"))
            return found.model_copy(update={"index_head_dim": index}) if found is not None and index else None
        case "DeepseekV4ForCausalLM":
            return _compressed(config)
        case "LlamaForCausalLM":
            return _grouped(config)
        case "Qwen2ForCausalLM" if not config.get("use_sliding_window"):
            return _grouped(config)
    return None


def cache_bytes(attention: Attention, layers: int, key_value_heads: int, ranks: int = 1) -> int | None:
    """Bytes of bfloat16 that each token adds to the cache of one of so many tensor-parallel ranks.

    A latent serves all heads and lies on every rank; keys and values are split by their heads, and of fewer heads than
    ranks several ranks hold the same. Compressed entries serve all heads, too: theirs is the mean over the tokens that
    one stands for, rounded up, and `sequence_bytes` comes beside it. Sources: DeepSeek-V2 (arXiv:2405.04434, 2.1),
    DeepSeek-V3.2 (arXiv:2512.02556, the indexer's one key for each token), GQA (arXiv:2305.13245). None: a kind that a
    newer runtime has described.
    """
    match attention.kind:
        case "latent" | "indexedLatent":
            numbers = attention.kv_lora_rank + attention.qk_rope_head_dim + attention.index_head_dim
        case "compressed":
            sparse = Fraction(attention.head_dim + attention.index_head_dim, attention.sparse_rate or 1)
            heavy = Fraction(attention.head_dim, attention.heavy_rate or 1)
            return ceil((attention.sparse_layers * sparse + attention.heavy_layers * heavy) * BFLOAT16_BYTES)
        case "groupedQuery":
            numbers = 2 * -(-key_value_heads // ranks) * attention.head_dim
        case _:
            return None
    return layers * numbers * BFLOAT16_BYTES


def sequence_bytes(attention: Attention) -> int:
    """At most what one sequence takes in the cache whatever its length, on every rank: windows of DeepSeek-V4.

    A layer's window holds one vector as key and value where entries are compressed beside it, and two elsewhere; what
    waits to be compressed is a vector and its gate for each token; of overlapping entries the last is kept, with gates
    in float32.
    """
    window, head, index = attention.sliding_window - 1, attention.head_dim, attention.index_head_dim
    if attention.kind != COMPRESSED:
        return 0
    sparse_waiting = 2 * 2 * (attention.sparse_rate - 1) * (head + index)
    heavy_waiting = 2 * (attention.heavy_rate - 1) * head
    numbers = (
        attention.sliding_layers * 2 * window * head
        + attention.sparse_layers * (window * head + sparse_waiting)
        + attention.heavy_layers * (window * head + heavy_waiting)
    )
    overlaps = attention.sparse_layers * attention.sparse_rate * (head + index) * (BFLOAT16_BYTES + FLOAT32_BYTES)
    return numbers * BFLOAT16_BYTES + overlaps


def layer_types(config: Mapping[str, Any]) -> list[str] | None:
    """The attention of each layer of a DeepSeek-V4; None where its config.json makes none."""
    layers, types, ratios = (config.get(key) for key in ("num_hidden_layers", "layer_types", "compress_ratios"))
    if not isinstance(layers, int) or not 0 < layers <= _MOST_LAYERS:
        return None
    if types is None and isinstance(ratios, list):
        types = [_LAYER_TYPES.get(ratio) if isinstance(ratio, int) else None for ratio in ratios]
    elif types is None:
        types = [SPARSE if index >= 2 and index % 2 else HEAVY for index in range(layers)]
    found = types[:layers] if isinstance(types, list) else []
    return found if len(found) == layers and all(each in _LAYER_TYPES.values() for each in found) else None


def rates(config: Mapping[str, Any]) -> tuple[int, int]:
    """How many tokens one entry of a sparse and of a heavy layer stands for; 0: config.json makes no sense."""
    given = config.get("compress_rates")
    found = given if isinstance(given, dict) else {SPARSE: 4, HEAVY: 128}
    sparse, heavy = (config.get(f"compress_rate_{name}") for name in ("csa", "hca"))
    return _size(found.get(SPARSE) if sparse is None else sparse), _size(found.get(HEAVY) if heavy is None else heavy)


def _compressed(config: Mapping[str, Any]) -> Attention | None:
    keys = ("head_dim", "q_lora_rank", "sliding_window", "index_head_dim", "o_groups")
    head, query, window, index, groups = (_size(config.get(key)) for key in keys)
    types, (sparse, heavy) = layer_types(config), rates(config)
    if types is None or not all((head, query, window, index, groups, sparse, heavy)):
        return None
    return Attention(
        kind=COMPRESSED,
        q_lora_rank=query,
        head_dim=head,
        index_head_dim=index,
        sliding_window=window,
        sliding_layers=types.count(SLIDING),
        sparse_layers=types.count(SPARSE),
        sparse_rate=sparse,
        heavy_layers=types.count(HEAVY),
        heavy_rate=heavy,
        output_groups=groups,
    )


def _latent(kind: str, config: Mapping[str, Any]) -> Attention | None:
    latent, rope = (_size(config.get(key)) for key in ("kv_lora_rank", "qk_rope_head_dim"))
    if not latent or not rope:
        return None
    query = _size(config.get("q_lora_rank"))
    return Attention(kind=kind, kv_lora_rank=latent, q_lora_rank=query, qk_rope_head_dim=rope)


def _grouped(config: Mapping[str, Any]) -> Attention | None:
    hidden, heads = (_size(config.get(key)) for key in ("hidden_size", "num_attention_heads"))
    head = _size(config.get("head_dim")) or (hidden // heads if heads else 0)
    return Attention(kind=GROUPED_QUERY, head_dim=head) if head else None


def _size(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _HIGHEST else 0
