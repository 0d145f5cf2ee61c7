"""The tensors that stand for one quantized weight, told by their names, dtypes and shapes alone. No torch here.

A fetch and an import refuse by it what could not be read later; `formats` reads.
"""

import math
from collections.abc import Mapping

Shape = tuple[int, ...]
Entry = tuple[str, Shape]
"""dtype, by its name in the format of safetensors, and shape of one tensor."""

WEIGHT, PACKED = "weight", "weight_packed"
SHAPE, SCALE, SCALE_INV = "weight_shape", "weight_scale", "weight_scale_inv"

MARKS = frozenset({PACKED, SCALE, SCALE_INV})
"""Of these parts at least one stands beside every quantized weight, and beside no other."""
INPUT_SCALE = "input_scale"
ACTIVATIONS = frozenset({INPUT_SCALE, "input_zero_point"})
"""What a calibrated weight has for who rounds activations by it; reading the weight takes neither."""
PARTS = MARKS | ACTIVATIONS | {WEIGHT, SHAPE, "weight_zero_point", "weight_g_idx", "weight_global_scale"}
"""Names of tensors that belong to a quantized weight. Those that no format has make it one that is not read."""

FLOATS = ("F64", "F32", "F16", "BF16")
BLOCKS = "fp8Block"
BLOCK = 128
"""Rows and columns that share a scale in DeepSeek's fp8."""
_BITS = {"int8": 8, "int4": 4}
_DTYPES = {"int8": "I8", "fp8": "F8_E4M3"}


def fit(scheme: str | None, parts: Mapping[str, Entry], shape: Shape | None) -> bool:
    """Whether parts are one weight of a scheme of `declared`; `shape` (out, in) where config.json makes it."""
    known = {part: entry for part, entry in parts.items() if part not in ACTIVATIONS}
    if known.keys() == {PACKED, SHAPE, SCALE} and scheme in _BITS:
        packed, found = known[PACKED]
        if packed != "I32" or len(found) != 2 or known[SHAPE] != ("I64", (2,)):
            return False
        fits = shape is None or found == (shape[0], packed_columns(shape[1], _BITS[scheme]))
        return fits and _scaled(known[SCALE], found[0], None if shape is None else shape[1])
    dtype, found = known.get(WEIGHT, ("", ()))
    if len(found) != 2 or (shape is not None and found != shape):
        return False
    if known.keys() == {WEIGHT, SCALE} and scheme in _DTYPES:
        return dtype == _DTYPES[scheme] and _scaled(known[SCALE], *found)
    if known.keys() == {WEIGHT, SCALE_INV} and scheme == BLOCKS:
        return dtype == "F8_E4M3" and known[SCALE_INV] == ("F32", tuple(math.ceil(size / BLOCK) for size in found))
    return False


def packed_columns(columns: int, bits: int = 8) -> int:
    """How many int32 a row of so many values takes."""
    return math.ceil(columns * bits / 32)


def _scaled(scale: Entry, rows: int, columns: int | None) -> bool:
    """One scale for each output channel, or for each group of its inputs."""
    dtype, shape = scale
    if dtype not in FLOATS or len(shape) != 2 or shape[0] != rows or not shape[1]:
        return False
    return columns is None or columns % shape[1] == 0
