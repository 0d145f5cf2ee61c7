"""The one list of stored forms: what reads weights, and what writes them, finds them here."""

from collections.abc import Mapping

from deepseek_runtime.quantize.formats.format import Entry, Format, Read, Shape
from deepseek_runtime.quantize.formats.packed import PACKED, PackQuantized
from deepseek_runtime.quantize.formats.scaled import SCALE, SCALE_INV, WEIGHT, BlockScaled, ChannelScaled

PACKED_INT8 = PackQuantized(8)
PACKED_INT4 = PackQuantized(4)
INT8 = ChannelScaled("I8")
FP8 = ChannelScaled("F8_E4M3")
FP8_BLOCK = BlockScaled()

FORMATS: tuple[Format, ...] = (PACKED_INT8, PACKED_INT4, INT8, FP8, FP8_BLOCK)
"""Four values fill one int32 with eight bits as with four: eight come first, and no group is so small."""

MARKS = frozenset({PACKED, SCALE, SCALE_INV})
"""Of these parts at least one stands beside every quantized weight, and beside no other."""
INPUT_SCALE = "input_scale"
ACTIVATIONS = frozenset({INPUT_SCALE, "input_zero_point"})
"""What a calibrated weight has for who multiplies in int8; reading the weight takes neither."""
PARTS = frozenset[str]().union(
    ACTIVATIONS, {"weight_zero_point", "weight_g_idx", "weight_global_scale"}, *(form.parts for form in FORMATS)
)
"""Names of tensors that belong to a quantized weight. Those that no format has make it one that is not read."""


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
