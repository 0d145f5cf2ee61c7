"""int8 and int4 weights as compressed-tensors stores them in its `pack-quantized` format.

Each value is raised by half its range, and so many as fit stand in one int32, the first in the lowest bits; rows are
padded with zero bits. Beside `weight_packed` stand `weight_scale`, one for each output channel or for each group of
inputs of it, and `weight_shape`. transformers and vLLM read it.
"""

from collections.abc import Mapping

import torch

from deepseek_runtime.quantize.formats.format import Read, Rows, block
from deepseek_runtime.quantize.formats.weight import BAND, QuantizedWeight
from deepseek_runtime.quantize.parts import PACKED, SCALE, SHAPE, Entry, Shape, packed_columns


class PackQuantized:
    """`bits` of each value: 4 or 8."""

    parts = frozenset({PACKED, SCALE, SHAPE})
    height = 1

    def __init__(self, bits: int) -> None:
        self.bits = bits

    def layout(self, shape: Shape, scale: Entry) -> dict[str, Entry]:
        """What a weight (out, in) with such a scale becomes."""
        rows, columns = shape
        return {PACKED: ("I32", (rows, packed_columns(columns, self.bits))), SCALE: scale, SHAPE: ("I64", (2,))}

    def store(self, weight: QuantizedWeight) -> dict[str, torch.Tensor]:
        """The parts of a weight, which is used up."""
        shape = torch.tensor(weight.values.shape, dtype=torch.int64)
        return {PACKED: pack(weight.values, self.bits), SCALE: weight.scale, SHAPE: shape}

    def fits(self, parts: Mapping[str, Entry]) -> bool:
        """Whether such parts can be one weight of so many bits, as far as dtypes and shapes tell."""
        (packed, (rows, *width)), (_, scales) = parts[PACKED], parts[SCALE]
        return packed == "I32" and parts[SHAPE] == ("I64", (2,)) and len(width) == 1 and scales[:1] == (rows,)

    def shape(self, parts: Mapping[str, Entry], read: Read) -> Shape | None:
        """Of the weight; None where the parts do not belong together, or have another number of bits."""
        rows, columns = (int(size) for size in read(SHAPE, None))
        if parts[PACKED][1] != (rows, packed_columns(columns, self.bits)):
            return None
        return (rows, columns) if block((rows, columns), parts[SCALE][1]) is not None else None

    def load(self, shape: Shape, read: Read, rows: Rows | None) -> QuantizedWeight:
        """The weight, or the given rows of it."""
        scale = read(SCALE, rows)
        return QuantizedWeight(unpack(read(PACKED, rows), shape[1], self.bits), scale, (1, shape[1] // scale.shape[1]))


def unpack(packed: torch.Tensor, columns: int, bits: int = 8) -> torch.Tensor:
    """The int8 values (rows, columns) of packed int32 (rows, ceil(columns * bits / 32))."""
    raised = packed.contiguous().view(torch.uint8)
    if bits == 8:
        return (raised[:, :columns] ^ 0x80).view(torch.int8)
    pairs = torch.stack((raised & 0xF, raised >> 4), dim=-1).view(len(packed), 8 * packed.shape[1])
    return pairs[:, :columns].view(torch.int8) - 8


def pack(values: torch.Tensor, bits: int = 8) -> torch.Tensor:
    """int32 (rows, ceil(columns * bits / 32)) of int8 values (rows, columns), which it may use up."""
    rows, columns = values.shape
    if bits == 8 and columns % 4 == 0:  # no row is padded; fresh memory would take five times as long
        return values.contiguous().view(torch.uint8).bitwise_xor_(0x80).view(torch.int32)
    width = packed_columns(columns, bits)
    packed = torch.empty(rows, width, dtype=torch.int32)
    step = max(1, BAND // max(1, columns))
    for first in range(0, rows, step):
        band = slice(first, first + step)
        packed[band] = _pack_padded(values[band], width, bits)
    return packed


def _pack_padded(values: torch.Tensor, width: int, bits: int) -> torch.Tensor:
    rows, columns = values.shape
    raised = torch.zeros(rows, width * 32 // bits, dtype=torch.uint8)
    raised[:, :columns] = values.view(torch.uint8) + (1 << (bits - 1))
    if bits == 8:
        return raised.view(torch.int32)
    pairs = raised.view(torch.int16)  # the second of each two in the high byte
    return (pairs >> 4).bitwise_or_(pairs).to(torch.uint8).view(torch.int32)
