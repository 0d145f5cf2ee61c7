"""Quantized copies of models. `Quantizer` makes them from Python; a quantize Job does the same in a cluster."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepseek_runtime.models.router import DynamicRouter
    from deepseek_runtime.quantize.quantizer import Quantized, Quantizer

__all__ = ["DynamicRouter", "Quantized", "Quantizer"]


def __getattr__(name: str) -> Any:
    """Imported when asked for: what reads quantized weights needs neither, and weights/load.py is read by both."""
    if name == "DynamicRouter":
        from deepseek_runtime.models.router import DynamicRouter

        return DynamicRouter
    if name in ("Quantized", "Quantizer"):
        from deepseek_runtime.quantize import quantizer

        return getattr(quantizer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
