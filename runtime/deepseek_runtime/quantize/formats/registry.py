"""The one list of stored forms: what reads weights, and what writes them, finds them here."""

from collections.abc import Mapping

from deepseek_runtime.quantize.formats.format import Format, Read
from deepseek_runtime.quantize.formats.packed import PackQuantized
from deepseek_runtime.quantize.formats.scaled import BlockScaled, ChannelScaled
from deepseek_runtime.quantize.parts import ACTIVATIONS, WEIGHT, Entry, Shape

PACKED_INT8 = PackQuantized(8)
PACKED_INT4 = PackQuantized(4)
INT8 = ChannelScaled("I8")
FP8 = ChannelScaled("F8_E4M3")
FP8_BLOCK = BlockScaled()

FORMATS: tuple[Format, ...] = (PACKED_INT8, PACKED_INT4, INT8, FP8, FP8_BLOCK)
"""Four values fill one int32 with eight bits as with four: eight come first, and no group is so small."""


def recognize(parts: Mapping[str, Entry], read: Read) -> tuple[Format, Shape] | None:
    """The form of a weight that lies in these parts, and its shape; None where it is none of those that are known."""
    known = parts.keys() - ACTIVATIONS
    for form in FORMATS:
        if form.parts == known and form.fits(parts) and (shape := form.shape(parts, read)) is not None:
            return form, shape
    return None


def weight_name(module: str) -> str:
    """What an unquantized checkpoint calls the module's weight."""
    return f"{module}.{WEIGHT}"
