"""int8 weights and one fixed scale for the inputs of each linear layer, from what calibration sees of them."""

from collections.abc import Iterator, Mapping

from torch import nn

from deepseek_runtime.quantize.activations import Range, RangeObserver, rounder
from deepseek_runtime.quantize.calibrated import Calibrated, Figures, Rounding
from deepseek_runtime.quantize.layerwise import Decoder, LoadedLayer
from deepseek_runtime.quantize.selection import EXPERT

MIN_TOKENS = 16
"""From so many tokens on an expert's inputs are known; below it takes the widest range of its kind in the layer."""


class StaticScales:
    """Observes a layer as its quantized predecessors feed it, then lets it compute with what it becomes."""

    def __init__(self, round_weight: Rounding) -> None:
        self._round = round_weight

    def quantize(
        self, decoder: Decoder, layer: LoadedLayer, modules: Mapping[str, nn.Linear], figures: Figures
    ) -> Iterator[tuple[str, Calibrated]]:
        """Every module of the layer with its input's scale."""
        for name, found in _ranges(decoder, layer, modules, figures).items():
            module = modules[name]
            weight = self._round(name, module.weight)
            module.weight.data = weight.dequantize(module.weight.dtype)
            module.register_forward_pre_hook(rounder(found.scale))
            figures.outlier = max(figures.outlier, found.outlier)
            yield name, Calibrated(weight, found.scale)


def _ranges(
    decoder: Decoder, layer: LoadedLayer, modules: Mapping[str, nn.Linear], figures: Figures
) -> dict[str, Range]:
    observers = {name: RangeObserver() for name in modules}
    hooks = [modules[name].register_forward_pre_hook(observer) for name, observer in observers.items()]
    decoder.observe(layer)
    for hook in hooks:
        hook.remove()
    found = {name: observer.range() for name, observer in observers.items()}
    widest: dict[str, Range] = {}
    for name, seen in found.items():
        if EXPERT.fullmatch(name):
            kind = _projection(name)
            widest[kind] = max(widest.get(kind, seen), seen, key=lambda one: one.largest)
    for name, seen in found.items():
        if EXPERT.fullmatch(name):
            figures.count_expert(name, seen.tokens, enough=seen.tokens >= MIN_TOKENS)
            if seen.tokens < MIN_TOKENS:
                found[name] = widest[_projection(name)]
    return found


def _projection(name: str) -> str:
    return name.rpartition(".")[2]
