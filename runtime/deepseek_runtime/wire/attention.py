"""What attention keeps of each token, from config.json alone: the size of a cache before there is one.

Keys and caches are those of transformers 5.23 (`DeepseekV3Attention`, `DeepseekV32Indexer`, `LlamaAttention`,
`Qwen2Attention`). What is not known for certain is None: a size that nobody can rely on helps nobody.
"""

from collections.abc import Mapping
from typing import Any

from deepseek_runtime.wire.base import WireModel

LATENT = "latent"
INDEXED_LATENT = "indexedLatent"
GROUPED_QUERY = "groupedQuery"

BFLOAT16_BYTES = 2


class Attention(WireModel):
    """The dimensions that the cache and the replicated weights follow from; 0: the kind does not have it."""

    kind: str
    kv_lora_rank: int = 0
    q_lora_rank: int = 0
    qk_rope_head_dim: int = 0
    index_head_dim: int = 0
    head_dim: int = 0


def attention(config: Mapping[str, Any]) -> Attention | None:
    """The attention that a config.json describes; None where the size of its cache is not known.

    DeepSeek-V4 is among those: its sliding windows and compressed entries do not grow by so many bytes for each token.
    """
    name = (config.get("architectures") or [None])[0]
    match name:
        case "DeepseekV2ForCausalLM" | "DeepseekV3ForCausalLM":
            return _latent(LATENT, config)
        case "DeepseekV32ForCausalLM":
            found = _latent(INDEXED_LATENT, config)
            index = _size(config.get("index_head_dim"))
            return found.model_copy(update={"index_head_dim": index}) if found is not None and index else None
        case "LlamaForCausalLM":
            return _grouped(config)
        case "Qwen2ForCausalLM" if not config.get("use_sliding_window"):
            return _grouped(config)
    return None


def cache_bytes(attention: Attention, layers: int, key_value_heads: int, ranks: int = 1) -> int | None:
    """Bytes of bfloat16 that each token takes in the cache of one of so many tensor-parallel ranks.

    A latent serves all heads and lies on every rank; keys and values are split by their heads, and of fewer heads than
    ranks several ranks hold the same. Sources: DeepSeek-V2 (arXiv:2405.04434, 2.1), DeepSeek-V3.2 (arXiv:2512.02556,
    the indexer's one key for each token), GQA (arXiv:2305.13245). None: a kind that a newer runtime has described.
    """
    match attention.kind:
        case "latent" | "indexedLatent":
            numbers = attention.kv_lora_rank + attention.qk_rope_head_dim + attention.index_head_dim
        case "groupedQuery":
            numbers = 2 * -(-key_value_heads // ranks) * attention.head_dim
        case _:
            return None
    return layers * numbers * BFLOAT16_BYTES


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
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
