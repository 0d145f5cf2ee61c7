"""A sealed model's tensors, read one at a time and, where the format lets it, only this rank's part of each."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from deepseek_runtime.quantize import activations, declared
from deepseek_runtime.quantize.formats.registry import weight_name
from deepseek_runtime.serve.layers.int8 import multiplies_int8
from deepseek_runtime.serve.matrix import Int8Matrix, Matrix
from deepseek_runtime.weights import safety
from deepseek_runtime.weights.stored import StoredWeights

Range = tuple[int, int]


class Checkpoint:
    """Tensors by name, as `dtype` on `device`; quantized ones dequantized. Memory: one whole tensor at a time."""

    def __init__(self, directory: Path, dtype: torch.dtype, device: torch.device) -> None:
        self.directory = directory
        self.dtype = dtype
        self.device = device
        self.stored = StoredWeights(directory)
        config = safety.read_json(directory / safety.CONFIG)
        self._int8 = declared.scheme(config) == "int8" and multiplies_int8(device)
        self._activations = declared.activations(config) if self._int8 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stored.__exit__(kind, error, at)

    def __contains__(self, name: str) -> bool:
        return name in self.stored

    def read(
        self, name: str, rows: Range | None = None, columns: Range | None = None, dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        """Tensor `name`, or the given rows and columns of it. Errors: as StoredWeights."""
        tensor = self.stored.read(name, rows, dtype or self.dtype)
        if columns is not None:
            tensor = tensor[:, columns[0] : columns[1]]
        return tensor.to(self.device, dtype or self.dtype).contiguous()

    def matrix(self, name: str, rows: Range | None = None, columns: Range | None = None) -> Matrix:
        """As `read`, but int8 with a scale for each output channel as it is stored, where the device multiplies it."""
        weight = self.stored.quantized(name, rows) if self._int8 else None
        if weight is None or weight.scale.shape[1] > 1:
            return self.read(name, rows, columns)
        values = weight.values if columns is None else weight.values[:, columns[0] : columns[1]]
        dynamic, inputs = self._activations == "dynamic", None
        if self._activations == "static":
            inputs = torch.full_like(
                weight.scale, self.stored.input_scale(name.removesuffix(".weight")), dtype=torch.float32
            )
        return Int8Matrix(values, weight.scale, dynamic, inputs)

    def rounding(self, module: str) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """What rounds the inputs of a layer that is read in plain numbers, as `matrix` has others' rounded."""
        if self._activations is None or self.stored.dtype(weight_name(module)) is not None:
            return None
        if self._activations == "dynamic":
            return activations.per_token
        return partial(activations.by_scale, scale=self.stored.input_scale(module))
