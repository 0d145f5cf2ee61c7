"""One file of a model becomes one file of its quantized copy, tensor by tensor."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from deepseek_runtime.job.errors import DataError
from deepseek_runtime.quantize.formats.registry import weight_name
from deepseek_runtime.quantize.formats.weight import QuantizedWeight
from deepseek_runtime.quantize.parts import FLOATS, Entry
from deepseek_runtime.quantize.rounding import NotFiniteError
from deepseek_runtime.quantize.schemes import Scheme
from deepseek_runtime.quantize.selection import EXPERT, Selection
from deepseek_runtime.weights.header import ITEM_SIZE
from deepseek_runtime.weights.load import KEPT_IN_FLOAT32
from deepseek_runtime.weights.safety import Shard
from deepseek_runtime.weights.stored import StoredWeights
from deepseek_runtime.weights.writer import DTYPES, Writer


class Conversion:
    """What becomes of every tensor. `dtype`: of the base's weights, by the format's name.

    Without a scheme all floating-point tensors become `dtype`, but those that must stay float32.
    """

    def __init__(self, base: StoredWeights, scheme: Scheme | None, selection: Selection, dtype: str) -> None:
        self.base = base
        self._scheme = scheme
        self._selection = selection
        self._dtype = dtype
        self._layouts = {name: self._layout(name) for name in base}

    def entries(self, shard: Shard) -> dict[str, Entry]:
        """dtype and shape of every tensor that the shard's copy has."""
        return {part: entry for name in self.base.names(shard) for part, entry in self._layouts[name].items()}

    def bytes(self, shard: Shard) -> int:
        """Of the base's tensors that become the shard's copy."""
        return sum(self.base.stored_bytes(name) for name in self.base.names(shard))

    def totals(self) -> Counter[str]:
        """`before` and `after`, and those of routed experts: `expert_before` and `expert_after`. In bytes."""
        sums: Counter[str] = Counter()
        for name, layout in self._layouts.items():
            before, after = self.base.stored_bytes(name), sum(_bytes(entry) for entry in layout.values())
            sums.update(before=before, after=after)
            if EXPERT.fullmatch(name.removesuffix(".weight")):
                sums.update(expert_before=before, expert_after=after)
        return sums

    def write(self, shard: Shard, path: Path, done: Callable[[int], None]) -> None:
        """Write the copy and sync it; `done` is told bytes of the base.

        Errors: DataError `NotFinite` names a tensor with NaN or infinity.
        """
        with Writer(path, self.entries(shard)) as writer:
            for name in self.base.names(shard):
                for part, tensor in self.convert(name):
                    writer.write(part, tensor)
                done(self.base.stored_bytes(name))

    def _layout(self, name: str) -> dict[str, Entry]:
        stored, shape = self.base.dtype(name), self.base.shape(name)
        if self._scheme is not None and self.selected(name):
            return self._scheme.layout(name.removesuffix(".weight"), shape, self._scale_dtype(stored))
        if stored is None:
            return {name: (self._dtype, shape)}
        rounded = self._scheme is None and stored in FLOATS and not name.endswith(KEPT_IN_FLOAT32)
        return {name: (self._dtype if rounded else stored, shape)}

    def convert(self, name: str) -> Iterator[tuple[str, torch.Tensor]]:
        """The parts that a tensor becomes, by their names in the copy."""
        if self._scheme is not None and self.selected(name):
            yield from self._scheme.store(name.removesuffix(".weight"), self._rounded(name, self._scheme)).items()
        else:
            yield name, self.read(name).to(DTYPES[self._layouts[name][name][0]])

    def read(self, name: str) -> torch.Tensor:
        """A tensor of the base. Errors: DataError `NotFinite`."""
        selected = self._scheme is not None and self.selected(name)
        tensor = self.base.read(name, dtype=torch.float32 if selected else None)
        if tensor.is_floating_point() and not finite(tensor):
            raise _not_finite(name)
        return tensor

    def round(self, module: str, weight: torch.Tensor) -> QuantizedWeight:
        """A module's finite weight (out, in), rounded to nearest with scales as the copy has them."""
        if self._scheme is None:
            raise ValueError(f"{module} is not quantized")
        return self._scheme.round(weight, self._scale_dtype(self.base.dtype(weight_name(module))))

    def _rounded(self, name: str, scheme: Scheme) -> QuantizedWeight:
        """Of a weight that is read in bands, whose memory is used again: fresh memory costs more than reading into it.

        A base in fp8 blocks is read whole, for bands would cut its blocks and dequantize each several times.
        """
        stored = self.base.dtype(name)
        if stored is None:
            return self.round(name.removesuffix(".weight"), self.read(name))
        try:
            return scheme.round_rows(partial(self._rows, name), self.base.shape(name), stored)
        except NotFiniteError as error:
            raise _not_finite(name) from error

    def _rows(self, name: str, first: int, last: int) -> torch.Tensor:
        return self.base.read(name, (first, last))

    def selected(self, name: str) -> bool:
        """Whether a tensor is a weight that is quantized."""
        return name.endswith(".weight") and name.removesuffix(".weight") in self._selection.quantized

    def _scale_dtype(self, stored: str | None) -> str:
        return self._dtype if stored is None else stored


def finite(tensor: torch.Tensor) -> bool:
    """A NaN is both the least and the greatest; thirty times faster than to ask of every number."""
    return not tensor.numel() or bool(torch.isfinite(torch.stack(tensor.aminmax())).all())


def _not_finite(name: str) -> DataError:
    return DataError("NotFinite", f"Tensor {name} has NaN or infinite values. Train or copy the model again.")


def _bytes(entry: Entry) -> int:
    dtype, shape = entry
    return ITEM_SIZE[dtype] * torch.Size(shape).numel()
