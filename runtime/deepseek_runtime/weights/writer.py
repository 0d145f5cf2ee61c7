"""Writes a safetensors file tensor by tensor, so that no more than one is in memory."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import torch

from deepseek_runtime.weights.header import ITEM_SIZE, METADATA

DTYPES: dict[str, torch.dtype] = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E8M0": torch.float8_e8m0fnu,
    "I16": torch.int16,
    "U16": torch.uint16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "F32": torch.float32,
    "I64": torch.int64,
    "U64": torch.uint64,
    "F64": torch.float64,
}
"""torch's dtype for each of the format's."""

_ALIGNMENT = 8


class Writer:
    """`tensors` names everything the file will hold with its dtype (the format's name) and shape, in any order.

    In the file the widest dtypes come first, so that every tensor is aligned. Use it in a `with` block.
    """

    def __init__(self, path: Path, tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> None:
        self._tensors = dict(tensors)
        entries: dict[str, object] = {METADATA: {"format": "pt"}}
        self._offsets: dict[str, int] = {}
        end = 0
        for name in sorted(tensors, key=lambda name: (-ITEM_SIZE[tensors[name][0]], name)):
            dtype, shape = tensors[name]
            begin, end = end, end + math.prod(shape) * ITEM_SIZE[dtype]
            entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
            self._offsets[name] = begin
        header = json.dumps(entries, separators=(",", ":")).encode()
        header += b" " * (-len(header) % _ALIGNMENT)
        self._start = 8 + len(header)
        self._file = path.open("xb")
        self._file.write(len(header).to_bytes(8, "little") + header)
        self._file.truncate(self._start + end)

    def write(self, name: str, tensor: torch.Tensor) -> None:
        """Put a tensor in its place; each exactly once."""
        dtype, shape = self._tensors.pop(name)
        if tensor.dtype != DTYPES[dtype] or tuple(tensor.shape) != shape:
            raise ValueError(f"{name}: {tensor.dtype} {tuple(tensor.shape)} was announced as {dtype} {shape}")
        self._file.seek(self._start + self._offsets[name])
        self._file.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()
        if kind is None and self._tensors:
            raise ValueError(f"never written: {', '.join(sorted(self._tensors)[:3])}")
