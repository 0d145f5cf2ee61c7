"""What config.json says of quantized weights, in the words of compressed-tensors and of DeepSeek. No torch here."""

from collections.abc import Mapping
from typing import Any, Literal

from deepseek_runtime.job.errors import DataError
from deepseek_runtime.quantize.parts import BLOCKS

_BLOCK_SIZE = [128, 128]
_FORMS: dict[tuple[Any, Any, Any], str] = {
    ("pack-quantized", "int", 8): "int8",
    ("int-quantized", "int", 8): "int8",
    ("pack-quantized", "int", 4): "int4",
    ("float-quantized", "float", 8): "fp8",
}
"""What is read, by format, kind and number of bits."""
_STRATEGIES = ("channel", "group")
_ACTIVATIONS: dict[Literal["static", "dynamic"], dict[str, Any]] = {
    "dynamic": {"type": "int", "num_bits": 8, "symmetric": True, "strategy": "token", "dynamic": True},
    "static": {"type": "int", "num_bits": 8, "symmetric": True, "strategy": "tensor", "dynamic": False},
}


def scheme(config: Mapping[str, Any]) -> str | None:
    """int8, int4, fp8 or fp8Block; None for plain weights. Errors: DataError `UnsupportedQuantization`."""
    how = config.get("quantization_config")
    if how is None:
        return None
    found = {_block(how)} if isinstance(how, dict) and how.get("quant_method") == "fp8" else _groups(how)
    if len(found) == 1 and (name := found.pop()) is not None:
        return name
    called = str((how.get("quant_method") or how.get("format")) if isinstance(how, dict) else how)[:50]
    raise DataError(
        "UnsupportedQuantization",
        f"The weights are quantized ({called}) in a form that this runtime does not read. It reads plain weights; int8 "
        "(pack-quantized, int-quantized), int4 (pack-quantized) and fp8 (float-quantized) of compressed-tensors, "
        "symmetric, with a scale for each channel or group, neither transformed nor sparse and without scales of the "
        "cache; and DeepSeek's fp8 in blocks of 128 x 128. Name a repository or revision with bfloat16 weights.",
    )


def activations(config: Mapping[str, Any]) -> Literal["static", "dynamic"] | None:
    """How engines that multiply in int8 round activations: to symmetric levels, each token by its own scale, or by one
    scale for each linear layer; None where the weights are not int8, or for activations in any other form.
    """
    if scheme(config) != "int8":
        return None
    groups = config["quantization_config"]["config_groups"].values()
    told = [
        {"type": "int", "symmetric": True, "dynamic": False} | (one.get("input_activations") or {}) for one in groups
    ]
    for kind, wanted in _ACTIVATIONS.items():
        if all(wanted.items() <= inputs.items() for inputs in told):
            return kind
    return None


def _block(how: Mapping[str, Any]) -> str | None:
    fits = how.get("fmt", "e4m3") == "e4m3" and how.get("weight_block_size") == _BLOCK_SIZE
    return BLOCKS if fits and how.get("activation_scheme", "dynamic") == "dynamic" else None


def _groups(how: Any) -> set[str | None]:
    groups = how.get("config_groups") if isinstance(how, dict) else None
    if not isinstance(groups, dict) or how.get("quant_method") != "compressed-tensors" or _more(how):
        return set()
    return {_group(group, how.get("format")) if isinstance(group, dict) else None for group in groups.values()}


def _more(how: Mapping[str, Any]) -> bool:
    """Whether weights alone do not make the model: they are rotated or sparse, or the cache has scales of its own."""
    sparse = how.get("sparsity_config")
    dense = not sparse or (isinstance(sparse, dict) and sparse.get("format") == "dense")
    return bool(how.get("transform_config") or how.get("kv_cache_scheme")) or not dense


def _group(group: Mapping[str, Any], form: Any) -> str | None:
    weights = group.get("weights")
    if not isinstance(weights, dict) or weights.get("symmetric", True) is not True:
        return None
    if weights.get("strategy") not in _STRATEGIES:
        return None
    return _FORMS.get((group.get("format") or form, weights.get("type", "int"), weights.get("num_bits")))
