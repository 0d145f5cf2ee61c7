"""Quantization that looks at what the weights are multiplied with, layer by layer.

In memory are one decoder layer, the hidden states of the calibration and what a method keeps of one layer's inputs;
files of the copy are laid out beforehand and filled as layers are done, so that a model may be larger than memory.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import nn
from transformers import PretrainedConfig

from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.quantize.calibration import Sequences
from deepseek_runtime.quantize.formats.registry import weight_name
from deepseek_runtime.quantize.formats.weight import QuantizedWeight
from deepseek_runtime.quantize.layerwise import Decoder, LoadedLayer
from deepseek_runtime.quantize.schemes import Scheme
from deepseek_runtime.quantize.shards import Conversion
from deepseek_runtime.weights.load import stored_dtype
from deepseek_runtime.weights.writer import Writer
from deepseek_runtime.wire.result import Calibration

_LAYER = re.compile(r"model\.layers\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A quantized weight, and the scale of its layer's inputs where that is fixed."""

    weight: QuantizedWeight
    input_scale: float | None = None


@dataclass(slots=True)
class Figures:
    """What is told of a calibration. An expert is counted once, whatever number of projections it has."""

    starved: set[str] = field(default_factory=set)
    unseen: set[str] = field(default_factory=set)
    outlier: float = 0.0
    uninvertible: int = 0

    def count_expert(self, projection: str, tokens: int, *, enough: bool) -> None:
        """One of an expert's projections that saw so many tokens, by its name."""
        expert = projection.rpartition(".")[0]
        if not tokens:
            self.unseen.add(expert)
        if not enough:
            self.starved.add(expert)

    def result(self, sequences: Sequences) -> Calibration:
        """For the Job's result."""
        return Calibration(
            digest=sequences.digest,
            sequences=len(sequences.tokens),
            tokens=sequences.count,
            experts_without_tokens=len(self.unseen),
            experts_with_few_tokens=len(self.starved),
            weights_rounded_to_nearest=self.uninvertible,
            largest_outlier=round(self.outlier, 2),
        )


Rounding = Callable[[str, torch.Tensor], QuantizedWeight]
"""A module's weight, by the module's name, rounded to nearest with scales as they are stored."""


class Method(Protocol):
    """Quantizes one layer after the other, and leaves each computing with what it has become."""

    def quantize(
        self, decoder: Decoder, layer: LoadedLayer, modules: Mapping[str, nn.Linear], figures: Figures
    ) -> Iterator[tuple[str, Calibrated]]:
        """Each of the modules, by its name in the checkpoint, exactly once."""
        ...


def write(
    config: PretrainedConfig,
    conversion: Conversion,
    scheme: Scheme,
    method: Method,
    sequences: Sequences,
    directory: Path,
    reporter: Reporter,
) -> Calibration:
    """Write every file of the copy. Errors: as Conversion and Decoder; ConfigurationError `InvalidConfig` for weights
    that are no part of a decoder layer, and which no text can calibrate.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = stored_dtype(config) if device.type == "cuda" else torch.float32
    decoder = Decoder(config, conversion.read, sequences.tokens, dtype, device)
    figures, total = Figures(), config.num_hidden_layers
    with ExitStack() as stack:
        writers: dict[str, Writer] = {}
        for shard in conversion.base.shards:
            entries = conversion.entries(shard)
            writers |= dict.fromkeys(entries, stack.enter_context(Writer(directory / shard.path.name, entries)))
        left = {name for name in conversion.base if conversion.selected(name)}
        _check_reached(left, total)
        for layer in decoder.layers():
            reporter.update("calibrating", unit="layers", done=layer.index, total=total)
            modules = {name: module for name, module in layer.linear.items() if weight_name(name) in left}
            for name, made in method.quantize(decoder, layer, modules, figures) if modules else ():
                for part, tensor in scheme.store(name, made.weight.cpu(), made.input_scale).items():
                    writers[part].write(part, tensor)
            if layer.index + 1 < total:
                decoder.advance(layer)
        reporter.update("calibrating", unit="layers", done=total, total=total)
        for name in conversion.base:
            if name not in left:
                for part, tensor in conversion.convert(name):
                    writers[part].write(part, tensor)
    return figures.result(sequences)


def _check_reached(names: set[str], layers: int) -> None:
    for name in sorted(names):
        match = _LAYER.match(name)
        if match is None or int(match[1]) >= layers:
            module = name.removesuffix(".weight")
            raise ConfigurationError(
                "InvalidConfig",
                f"{module} lies in none of the {layers} decoder layers, so calibration does not reach it. Name "
                f"{match[0] if match else module}* in ignore.",
            )
