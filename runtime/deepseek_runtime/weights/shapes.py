"""Whether weights have the names, shapes and form that config.json makes of them, told from the files' headers alone.

The names and shapes are those of transformers 5.23's checkpoints of each family. Of what is there beyond them (a head
for the prediction of several tokens, biases) only the form of quantized weights is looked at.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepseek_runtime.job.errors import DataError
from deepseek_runtime.quantize import declared, parts
from deepseek_runtime.quantize.parts import Entry, Shape
from deepseek_runtime.weights import safety
from deepseek_runtime.weights.safety import Shard
from deepseek_runtime.wire.architecture import FAMILIES, complete

_NAMED = 3


def check(directory: Path, shards: Sequence[Shard]) -> None:
    """DataError `ShapeMismatch` naming file, tensor and both shapes; `BadWeights` naming tensors that are missing, or a
    weight that is not stored as config.json declares."""
    config = safety.read_json(directory / safety.CONFIG)
    family, scheme = FAMILIES[config["architectures"][0]], declared.scheme(config)
    where = {name: shard for shard in shards for name in shard.tensors}
    quantized = _quantized(shards)
    missing = []
    for name, shape in expected(family, config):
        module = name.removesuffix(f".{parts.WEIGHT}")
        if name not in where:
            if module not in quantized:
                missing.append(name)
            continue
        found = where[name].tensors[name]
        if found.shape != shape:
            raise DataError(
                "ShapeMismatch",
                f"Tensor {name} in {where[name].path.name} has the shape {list(found.shape)}; {safety.CONFIG} makes it "
                f"{list(shape)}. One of the two is of another model: put together the files of one.",
            )
        if module not in quantized and found.dtype not in parts.FLOATS:
            raise _misstored(module, {parts.WEIGHT: (found.dtype, found.shape)}, scheme)
    shapes = dict(expected(family, config))
    for module, stored in quantized.items():
        if not parts.fit(scheme, stored, shapes.get(f"{module}.{parts.WEIGHT}")):
            raise _misstored(module, stored, scheme)
    if missing:
        others = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise DataError(
            "BadWeights",
            f"The weights lack {', '.join(missing[:_NAMED])}{others}, which a {family} of this {safety.CONFIG} has. "
            "Put together the files of one model, all of them.",
        )


def _quantized(shards: Sequence[Shard]) -> dict[str, dict[str, Entry]]:
    """The parts of every weight that is not one plain tensor, by its module."""
    found: dict[str, dict[str, Entry]] = defaultdict(dict)
    for shard in shards:
        for name, info in shard.tensors.items():
            module, _, part = name.rpartition(".")
            if module and part in parts.PARTS:
                found[module][part] = (info.dtype, info.shape)
    return {module: stored for module, stored in found.items() if stored.keys() & parts.MARKS}


def _misstored(module: str, stored: Mapping[str, Entry], scheme: str | None) -> DataError:
    told = ", ".join(f"{part} {dtype} {list(shape)}" for part, (dtype, shape) in sorted(stored.items()))
    return DataError(
        "BadWeights",
        f"{module} is stored as {told}, which is no weight of the kind that {safety.CONFIG} declares "
        f"({scheme or 'not quantized'}). Put together the files of one model, all of them.",
    )


def expected(family: str, config: Mapping[str, Any]) -> Iterator[tuple[str, Shape]]:
    """Name and shape of every tensor without which a model of such a config.json cannot be computed."""
    c = complete(family, config)
    hidden, vocabulary = c["hidden_size"], c["vocab_size"]
    yield "model.embed_tokens.weight", (vocabulary, hidden)
    if not c["tie_word_embeddings"]:
        yield "lm_head.weight", (vocabulary, hidden)
    yield "model.norm.weight", (hidden,)
    for index in range(c["num_hidden_layers"]):
        at = f"model.layers.{index}"
        yield f"{at}.input_layernorm.weight", (hidden,)
        yield f"{at}.post_attention_layernorm.weight", (hidden,)
        yield from _multi_head(f"{at}.self_attn", c) if family == "Llama" else _latent(f"{at}.self_attn", c)
        if family == "Llama" or index < c["first_k_dense_replace"]:
            yield from _gated(f"{at}.mlp", hidden, c["intermediate_size"])
        else:
            yield from _experts(f"{at}.mlp", family, c)


def _multi_head(at: str, c: Mapping[str, Any]) -> Iterator[tuple[str, Shape]]:
    hidden, heads, shared = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"]
    for name, count in (("q_proj", heads), ("k_proj", shared), ("v_proj", shared)):
        yield f"{at}.{name}.weight", (count * c["head_dim"], hidden)
    yield f"{at}.o_proj.weight", (hidden, heads * c["head_dim"])


def _latent(at: str, c: Mapping[str, Any]) -> Iterator[tuple[str, Shape]]:
    hidden, heads, latent, rank = c["hidden_size"], c["num_attention_heads"], c["kv_lora_rank"], c["q_lora_rank"]
    query = heads * (c["qk_nope_head_dim"] + c["qk_rope_head_dim"])
    if rank is None:
        yield f"{at}.q_proj.weight", (query, hidden)
    else:
        yield f"{at}.q_a_proj.weight", (rank, hidden)
        yield f"{at}.q_a_layernorm.weight", (rank,)
        yield f"{at}.q_b_proj.weight", (query, rank)
    yield f"{at}.kv_a_proj_with_mqa.weight", (latent + c["qk_rope_head_dim"], hidden)
    yield f"{at}.kv_a_layernorm.weight", (latent,)
    yield f"{at}.kv_b_proj.weight", (heads * (c["qk_nope_head_dim"] + c["v_head_dim"]), latent)
    yield f"{at}.o_proj.weight", (hidden, heads * c["v_head_dim"])


def _experts(at: str, family: str, c: Mapping[str, Any]) -> Iterator[tuple[str, Shape]]:
    hidden, width, count = c["hidden_size"], c["moe_intermediate_size"], c["n_routed_experts"]
    yield f"{at}.gate.weight", (count, hidden)
    if family == "DeepSeekV3":
        yield f"{at}.gate.e_score_correction_bias", (count,)
    for expert in range(count):
        yield from _gated(f"{at}.experts.{expert}", hidden, width)
    yield from _gated(f"{at}.shared_experts", hidden, width * c["n_shared_experts"])


def _gated(at: str, hidden: int, width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{at}.gate_proj.weight", (width, hidden)
    yield f"{at}.up_proj.weight", (width, hidden)
    yield f"{at}.down_proj.weight", (hidden, width)
