"""What each scheme makes of a weight, and how config.json tells it."""

import fnmatch
import math
from dataclasses import dataclass
from typing import Any

import torch

from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.quantize.formats import registry
from deepseek_runtime.quantize.formats.format import Format
from deepseek_runtime.quantize.formats.weight import Block, QuantizedWeight
from deepseek_runtime.quantize.parts import INPUT_SCALE, Entry, Shape
from deepseek_runtime.quantize.rounding import FP8, INT4, INT8, Levels, Rows, round_rows, round_to_nearest
from deepseek_runtime.quantize.selection import HEAD
from deepseek_runtime.weights.writer import DTYPES
from deepseek_runtime.wire.job import QuantizeJob

_NOT_EXPERTS = (r"re:.*self_attn.*", r"re:.*shared_experts.*", r"re:.*mlp\.(gate|up|gate_up|down)_proj.*")
"""Every linear layer but routed experts, by its name here and in engines that join gate and up."""
_PER_TOKEN = {"strategy": "token", "dynamic": True, "symmetric": True}
_PER_TENSOR = {"strategy": "tensor", "dynamic": False, "symmetric": True}


@dataclass(frozen=True, slots=True)
class Scheme:
    """A block of `height` rows and `width` columns (0: all columns) shares a scale; `scale` None: the base's dtype."""

    form: Format
    levels: Levels
    name: str  # compressed-tensors' of the format; empty: DeepSeek's own
    dynamic: bool = False  # whether engines quantize activations, each token by its own scale
    static: bool = False  # whether they do so by one scale for each layer's inputs, which is stored
    height: int = 1
    width: int = 0
    scale: str | None = None

    def layout(self, module: str, shape: Shape, dtype: str) -> dict[str, Entry]:
        """What a module's weight becomes. Errors: ConfigurationError `InvalidConfig` for a width it cannot take."""
        rows, columns = shape
        if self.width and self.height == 1 and columns % self.width:
            fitting = [size for size in (32, 64, 128) if columns % size == 0]
            advice = f"Set groupSize to {' or '.join(map(str, fitting))}" if fitting else "Name the module in ignore"
            raise ConfigurationError(
                "InvalidConfig",
                f"{module} has {columns} inputs, which groupSize {self.width} does not divide. {advice}.",
            )
        height, width = self._block(shape)
        scale = (self.scale or dtype, (math.ceil(rows / height), math.ceil(columns / width)))
        entries = self.form.layout(shape, scale)
        if self.static:
            entries[INPUT_SCALE] = (scale[0], (1,))
        return {f"{module}.{part}": entry for part, entry in entries.items()}

    def convert(self, module: str, weight: torch.Tensor, dtype: str) -> dict[str, torch.Tensor]:
        """The parts of a finite weight (out, in)."""
        return self.store(module, self.round(weight, dtype))

    def round(self, weight: torch.Tensor, dtype: str) -> QuantizedWeight:
        """The levels nearest to a finite weight (out, in), on its device; `dtype`: the base's, for scales."""
        return round_to_nearest(weight, self.levels, self._block(weight.shape), DTYPES[self.scale or dtype])

    def round_rows(self, rows: Rows, shape: Shape, dtype: str) -> QuantizedWeight:
        """As `round`, of a weight that is read as it is rounded. Errors: NotFiniteError."""
        return round_rows(rows, shape, self.levels, self._block(shape), DTYPES[self.scale or dtype])

    def store(self, module: str, weight: QuantizedWeight, input_scale: float | None = None) -> dict[str, torch.Tensor]:
        """A quantized weight, used up, by the names of its parts in the file; `input_scale` of a static scheme's."""
        parts = self.form.store(weight)
        if input_scale is not None:
            parts[INPUT_SCALE] = torch.tensor([input_scale], dtype=weight.scale.dtype)
        return {f"{module}.{part}": tensor for part, tensor in parts.items()}

    def config(self, job: QuantizeJob, experts_only: bool) -> dict[str, Any]:
        """What config.json says as `quantization_config`; shell patterns become regular expressions.

        The output layer is named even where it is tied to the embeddings: readers make a module of it all the same.
        """
        if not self.name:
            return {
                "quant_method": "fp8",
                "fmt": "e4m3",
                "weight_block_size": [128, 128],
                "activation_scheme": "dynamic",
            }
        kind = {"num_bits": 4 if self.levels is INT4 else 8, "type": "float" if self.levels is FP8 else "int"}
        weights = {**kind, "symmetric": True, "strategy": "group" if self.width else "channel", "dynamic": False}
        if self.width:
            weights["group_size"] = self.width
        group: dict[str, Any] = {"targets": ["Linear"], "weights": weights, "format": self.name}
        if self.dynamic:
            group["input_activations"] = {**kind, **_PER_TOKEN}
        if self.static:
            group["input_activations"] = {**kind, **_PER_TENSOR}
        patterns = [f"re:{fnmatch.translate(pattern)}" for pattern in job.ignore]
        return {
            "quant_method": "compressed-tensors",
            "format": self.name,
            "quantization_status": "compressed",
            "config_groups": {"group_0": group},
            "ignore": [HEAD, *(_NOT_EXPERTS if experts_only else ()), *patterns],
        }

    def _block(self, shape: Shape) -> Block:
        return self.height, self.width or shape[1]


def scheme(job: QuantizeJob) -> Scheme | None:
    """What a Job asks for; None for `bf16`, which leaves no weight quantized."""
    match job.scheme, job.method:
        case "int8", "dynamic":
            return Scheme(registry.INT8, INT8, "int-quantized", dynamic=True)
        case "int8", "static":
            return Scheme(registry.INT8, INT8, "int-quantized", static=True)
        case "int8", _:
            return Scheme(registry.PACKED_INT8, INT8, "pack-quantized")
        case "int4", _:
            return Scheme(registry.PACKED_INT4, INT4, "pack-quantized", width=job.group_size)
        case "fp8", _:
            return Scheme(registry.FP8, FP8, "float-quantized", dynamic=True)
        case "fp8Block", _:
            return Scheme(registry.FP8_BLOCK, FP8, "", height=128, width=128, scale="F32")
    return None
