"""Whether this runtime can read a model, told from its configuration before the weights are fetched."""

from pathlib import Path
from typing import Any

from deepseek_runtime.job.errors import DataError
from deepseek_runtime.weights import safety
from deepseek_runtime.wire.architecture import FAMILIES, KEYS, problems

_PACKED = ("compressed-tensors", "pack-quantized", 8)
"""The one quantized form that is read: the int8 variants that this runtime makes."""


def check(directory: Path) -> None:
    """Errors: DataError `UnknownArchitecture`, `UnsupportedQuantization`, `InvalidConfig`, `BadFile`."""
    config = safety.read_json(directory / safety.CONFIG)
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    if name not in FAMILIES:
        raise DataError(
            "UnknownArchitecture",
            f"{safety.CONFIG} names the architecture {str(name)[:100]}; this runtime has {', '.join(FAMILIES)}.",
        )
    family = FAMILIES[name]
    known = {key: config[key] for key in KEYS[family] if key in config}
    vocabulary = config.get("vocab_size")
    found = list(problems(family, known, vocabulary if type(vocabulary) is int else 0))
    missing = ("hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")
    found += [f"config.{key} is missing" for key in missing if key not in config]
    if found:
        raise DataError("InvalidConfig", f"{safety.CONFIG} makes no {family}: {'; '.join(found[:4])}.")
    _check_quantization(config.get("quantization_config"))


def shards(directory: Path) -> frozenset[str]:
    """The weight files that the model consists of."""
    if not (directory / safety.INDEX).exists():
        return frozenset({safety.SINGLE})
    weight_map = safety.read_json(directory / safety.INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise DataError("BadFile", f"{safety.INDEX} has no weight_map. Name a revision with an intact one.")
    return frozenset(weight_map.values())


def _check_quantization(quantization: Any) -> None:
    if quantization is None:
        return
    how = quantization if isinstance(quantization, dict) else {}
    groups = how.get("config_groups")
    weights = [group.get("weights") or {} for group in groups.values()] if isinstance(groups, dict) else []
    forms = {(how.get("quant_method"), how.get("format"), weight.get("num_bits")) for weight in weights}
    if forms != {_PACKED}:
        called = str(how.get("quant_method") or how.get("format") or "unknown")[:50]
        raise DataError(
            "UnsupportedQuantization",
            f"The weights are quantized ({called}); this runtime reads plain weights, and int8 in the pack-quantized "
            "format. Name a repository or revision with bfloat16 weights.",
        )
