"""The safetensors format: an own reader of its header, for files that nobody vouches for.

The format (https://huggingface.co/docs/safetensors): eight bytes with the header's length, little endian; the header,
a JSON object from tensor name to `dtype`, `shape` and `data_offsets`; then the tensors' bytes, without holes.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from deepseek_runtime.job.errors import DataError

MAX_HEADER = 100_000_000
"""Bytes; the reference implementation has the same bound."""

METADATA = "__metadata__"

ITEM_SIZE = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "F8_E8M0": 1,
    "I16": 2,
    "U16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "U32": 4,
    "F32": 4,
    "I64": 8,
    "U64": 8,
    "F64": 8,
}
"""Bytes of one number of each dtype that is read."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor; `begin` and `end` are bytes from the start of the data."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def bytes(self) -> int:
        """Its size."""
        return self.end - self.begin

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def read(path: Path) -> dict[str, TensorInfo]:
    """The tensors of a safetensors file in the order of their bytes.

    Errors: DataError `BadWeights` naming the file and what is wrong, before any tensor is touched: the header's length
    within the file, known dtypes, sizes that match shapes, and offsets that cover the data exactly once.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or not 2 <= length <= min(MAX_HEADER, size - 8):
                raise _bad(path, f"its header claims {length} bytes; the file has {size}")
            text = file.read(length)
    except OSError as error:
        raise _bad(path, f"it cannot be read: {error.strerror}") from error
    tensors = {name: _tensor(path, name, entry) for name, entry in _entries(path, text).items()}
    ordered = dict(sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)))
    expected = 0
    for name, info in ordered.items():
        if info.begin != expected:
            what = "overlap" if info.begin < expected else "leave a hole"
            raise _bad(path, f"the bytes of tensors {what} at byte {info.begin} ({name})")
        expected = info.end
    if expected != size - 8 - length:
        raise _bad(path, f"its tensors have {expected} bytes, the file holds {size - 8 - length}: it is cut or padded")
    return ordered


def _entries(path: Path, text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise _bad(path, "its header names a tensor twice")
        return result

    try:
        header = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise _bad(path, "its header is not JSON") from error
    if not isinstance(header, dict):
        raise _bad(path, "its header is not a JSON object")
    header.pop(METADATA, None)
    return header


def _tensor(path: Path, name: str, entry: Any) -> TensorInfo:
    if not isinstance(entry, dict):
        raise _bad(path, f"tensor {name!r} has no description")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in ITEM_SIZE:
        raise _bad(path, f"tensor {name!r} has the unknown dtype {dtype!r}")
    if not _sizes(shape) or not _sizes(offsets) or len(offsets) != 2:
        raise _bad(path, f"tensor {name!r} has a shape or offsets that are no list of sizes")
    begin, end = offsets
    info = TensorInfo(dtype, tuple(shape), begin, end)
    if info.elements * ITEM_SIZE[dtype] != end - begin:
        raise _bad(path, f"tensor {name!r} of shape {shape} and dtype {dtype} does not have {end - begin} bytes")
    return info


def _sizes(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**63 for item in value)


def _bad(path: Path, what: str) -> DataError:
    return DataError("BadWeights", f"{path} is not a safetensors file: {what}. Replace the file by an intact copy.")
