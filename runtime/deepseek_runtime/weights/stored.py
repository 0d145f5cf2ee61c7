"""A model's tensors under the names of an unquantized checkpoint, in whatever form they are stored."""

import math
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from deepseek_runtime.job.errors import DataError
from deepseek_runtime.quantize.formats.format import Format, Rows
from deepseek_runtime.quantize.formats.registry import recognize, weight_name
from deepseek_runtime.quantize.formats.weight import QuantizedWeight
from deepseek_runtime.quantize.parts import INPUT_SCALE, MARKS, PARTS, Entry, Shape
from deepseek_runtime.weights import safety
from deepseek_runtime.weights.header import ITEM_SIZE, TensorInfo
from deepseek_runtime.weights.safety import Shard
from deepseek_runtime.weights.writer import DTYPES


class StoredWeights:
    """Reads tensors one at a time, and only the rows that are asked for; nothing stays in memory.

    Files are read and not mapped: pages of a mapped file would count as this process's until it is closed. The parts of
    a weight may lie in different files. Errors: as safety.check; DataError `BadWeights` where parts are missing or do
    not belong together in a form that is known, IndexError for rows that are not there.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.shards = safety.check(directory)
        self._infos = {name: (shard, info) for shard in self.shards for name, info in shard.tensors.items()}
        modules: dict[str, set[str]] = defaultdict(set)
        for name in self._infos:
            module, _, part = name.rpartition(".")
            if module and part in PARTS:
                modules[module].add(part)
        self._quantized = {module: parts for module, parts in modules.items() if parts & MARKS}
        self._forms: dict[str, tuple[Format, Shape]] = {}
        self._descriptors: dict[Path, int] = {}
        self._starts = {shard.path: _start(shard) for shard in self.shards}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def __contains__(self, name: str) -> bool:
        return self._module(name) in self._quantized or name in self._infos

    def __iter__(self) -> Iterator[str]:
        """Every tensor, in the order of the files and of the bytes in them."""
        return (name for shard in self.shards for name in self.names(shard))

    def names(self, shard: Shard) -> Iterator[str]:
        """The tensors of one file; a quantized weight is of the file that its values are in."""
        for stored in shard.tensors:
            module, _, part = stored.rpartition(".")
            if module not in self._quantized or part not in PARTS:
                yield stored
            elif part in ("weight", "weight_packed"):
                yield weight_name(module)

    def stored_bytes(self, name: str) -> int:
        """What a tensor takes in the files, scales and the like included."""
        module = self._module(name)
        parts = [f"{module}.{part}" for part in self._quantized.get(module, ())] or [name]
        return sum(self._info(part)[1].bytes for part in parts)

    def dtype(self, name: str) -> str | None:
        """As stored, by the format's name; None for a quantized weight."""
        return None if self._module(name) in self._quantized else self._info(name)[1].dtype

    def shape(self, name: str) -> Shape:
        """Of the tensor, unquantized."""
        module = self._module(name)
        return self._form(module)[1] if module in self._quantized else self._info(name)[1].shape

    def quantized(self, name: str, rows: Rows | None = None) -> QuantizedWeight | None:
        """A weight as it is stored, or rows of it that begin and end with its blocks; None for a plain tensor."""
        module = self._module(name)
        if module not in self._quantized:
            return None
        form, shape = self._form(module)
        return form.load(shape, lambda part, some: self._tensor(f"{module}.{part}", some), rows)

    def read(self, name: str, rows: Rows | None = None, dtype: torch.dtype | None = None) -> torch.Tensor:
        """A tensor, or the given rows of it; a quantized weight in `dtype` (None: its scale's), others as stored."""
        module = self._module(name)
        if module not in self._quantized:
            return self._tensor(name, rows)
        form, shape = self._form(module)
        first, last = self._rows(name, rows, shape)
        begin = first // form.height * form.height
        end = min(math.ceil(last / form.height) * form.height, shape[0])
        weight = self.quantized(name, (begin, end))
        assert weight is not None  # noqa: S101 the module is among the quantized ones
        return weight.dequantize(dtype)[first - begin : last - begin]

    def input_scale(self, module: str) -> float:
        """Of a statically quantized module's inputs. Errors: DataError `BadWeights` where it is no positive number."""
        scale = self._tensor(f"{module}.{INPUT_SCALE}", None)
        if scale.numel() != 1 or not math.isfinite(value := float(scale)) or value <= 0:
            raise DataError(
                "BadWeights", f"{module}.{INPUT_SCALE} in {self.directory} is no scale. Quantize the base again."
            )
        return value

    def _module(self, name: str) -> str:
        return name.removesuffix(".weight") if name.endswith(".weight") else ""

    def _rows(self, name: str, rows: Rows | None, shape: Shape) -> Rows:
        first, last = rows or (0, shape[0])
        if not 0 <= first <= last <= shape[0]:
            raise IndexError(f"{name} has {shape[0]} rows, {first} to {last} are asked for")
        return first, last

    def _form(self, module: str) -> tuple[Format, Shape]:
        if module not in self._forms:
            parts: dict[str, Entry] = {}
            for part in self._quantized[module]:
                info = self._info(f"{module}.{part}")[1]
                parts[part] = (info.dtype, info.shape)
            found = recognize(parts, lambda part, rows: self._tensor(f"{module}.{part}", rows))
            if found is None:
                told = ", ".join(f"{part} {dtype} {list(shape)}" for part, (dtype, shape) in sorted(parts.items()))
                raise DataError(
                    "BadWeights",
                    f"{module} in {self.directory} is no quantized weight that this runtime reads: {told}. Replace it "
                    "by an intact copy, or quantize the unquantized model here.",
                )
            self._forms[module] = found
        return self._forms[module]

    def _info(self, name: str) -> tuple[Shard, TensorInfo]:
        if name not in self._infos:
            raise DataError("BadWeights", f"{self.directory} has no tensor {name}. Replace it by an intact copy.")
        return self._infos[name]

    def _tensor(self, name: str, rows: Rows | None) -> torch.Tensor:
        shard, info = self._info(name)
        shape, begin = info.shape, info.begin
        if rows is not None:
            (first, last), stride = self._rows(name, rows, shape), math.prod(shape[1:]) * ITEM_SIZE[info.dtype]
            shape, begin = (last - first, *shape[1:]), begin + first * stride
        buffer = torch.empty(math.prod(shape) * ITEM_SIZE[info.dtype], dtype=torch.uint8)
        self._fill(shard, buffer, begin)
        return buffer.view(DTYPES[info.dtype]).reshape(shape)

    def _fill(self, shard: Shard, buffer: torch.Tensor, begin: int) -> None:
        if shard.path not in self._descriptors:
            self._descriptors[shard.path] = os.open(shard.path, os.O_RDONLY)
        descriptor = self._descriptors[shard.path]
        position = self._starts[shard.path] + begin
        left = buffer.numpy().data
        while left:
            count = os.preadv(descriptor, [left], position)
            if not count:
                raise DataError("BadWeights", f"{shard.path} became shorter while it was read. Replace the file.")
            left, position = left[count:], position + count


def _start(shard: Shard) -> int:
    """Where the data begins: a file whose header was checked ends with the last tensor."""
    return shard.path.stat().st_size - max((info.end for info in shard.tensors.values()), default=0)
