"""A sealed model's tensors, read one at a time and, where the format lets it, only this rank's part of each."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from safetensors import safe_open

from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.quantize import packed
from deepseek_runtime.weights import safety

Range = tuple[int, int]


class Checkpoint:
    """Tensors by name, as `dtype` on `device`; int8 weights are dequantized. Memory: one whole tensor at a time."""

    def __init__(self, directory: Path, dtype: torch.dtype, device: torch.device) -> None:
        self.directory = directory
        self.dtype = dtype
        self.device = device
        shards = safety.check(directory)
        self._shapes = {name: info.shape for shard in shards for name, info in shard.tensors.items()}
        self._paths = {name: shard.path for shard in shards for name in shard.tensors}
        self._stack = ExitStack()
        self._files: dict[Path, Any] = {
            shard.path: self._stack.enter_context(safe_open(shard.path, framework="pt")) for shard in shards
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def __contains__(self, name: str) -> bool:
        return name in self._paths or self._packed(name) in self._paths

    def read(
        self, name: str, rows: Range | None = None, columns: Range | None = None, dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        """Tensor `name`, or the given rows and columns of it.

        Errors: DataError `BadWeights` where it is missing, ConfigurationError `UnsupportedQuantization`.
        """
        if f"{name}_scale_inv" in self._paths:
            raise ConfigurationError(
                "UnsupportedQuantization",
                f"{self.directory} holds FP8 blocks; the engine serves plain and int8 weights (pack-quantized).",
            )
        if self._packed(name) in self._paths:
            tensor = self._dequantized(name, rows)
        elif name in self._paths:
            tensor = self._slice(name, rows)
        else:
            raise DataError("BadWeights", f"{self.directory} has no tensor {name}. Replace it by an intact copy.")
        if columns is not None:
            tensor = tensor[:, columns[0] : columns[1]]
        return tensor.to(self.device, dtype or self.dtype).contiguous()

    def rows(self, name: str) -> int:
        """The first dimension of a matrix."""
        return self._shapes[self._packed(name) if self._packed(name) in self._shapes else name][0]

    def _packed(self, name: str) -> str:
        return f"{name.removesuffix('.weight')}.{packed.PACKED}"

    def _dequantized(self, name: str, rows: Range | None) -> torch.Tensor:
        module = name.removesuffix(".weight")
        values = self._slice(f"{module}.{packed.PACKED}", rows)
        scale = self._slice(f"{module}.{packed.SCALE}", rows)
        return packed.dequantize(values, scale, self._slice(f"{module}.{packed.SHAPE}", None))

    def _slice(self, name: str, rows: Range | None) -> torch.Tensor:
        file = self._files[self._paths[name]]
        tensor: torch.Tensor = file.get_tensor(name) if rows is None else file.get_slice(name)[rows[0] : rows[1]]
        return tensor
