"""How the numbers of each tensor are stored.

Rounding is the format's own library's: Q8_0 and Q4_0 store blocks of 32 numbers of a row with one scale in float16.
Vectors, routers and their biases stay float32, as llama.cpp's own tools have it; in a q4_0 file embeddings and output
layer are Q8_0, for they are a small part and four bits in them lose much. What has rows of no whole blocks is float16.
"""

from math import prod

import numpy as np
import numpy.typing as npt
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType, quants

from deepseek_runtime.export.gguf.unsupported import unsupported
from deepseek_runtime.quantize.parts import Shape

Type = GGMLQuantizationType

FILE_TYPES = {
    "f16": LlamaFileType.MOSTLY_F16,
    "q8_0": LlamaFileType.MOSTLY_Q8_0,
    "q4_0": LlamaFileType.MOSTLY_Q4_0,
}
"""What llama.cpp calls a file of each type."""

_WANTED = {"f16": Type.F16, "q8_0": Type.Q8_0, "q4_0": Type.Q4_0}
_EMBEDDINGS = ("token_embd.weight", "output.weight")
_FLOAT32 = (".ffn_gate_inp.weight", ".exp_probs_b.bias")


def stored_type(kind: str, name: str, shape: Shape) -> Type:
    """Of the tensor with this name in a file of this type."""
    wanted = wanted_type(kind, name, shape)
    return wanted if shape[-1] % GGML_QUANT_SIZES[wanted][0] == 0 else Type.F16


def wanted_type(kind: str, name: str, shape: Shape) -> Type:
    """As `stored_type`, were its rows whole blocks."""
    if len(shape) == 1 or name.endswith(_FLOAT32):
        return Type.F32
    return Type.Q8_0 if kind == "q4_0" and name in _EMBEDDINGS else _WANTED[kind]


def size(shape: Shape, stored: Type) -> int:
    """Bytes of a tensor."""
    block, taken = GGML_QUANT_SIZES[stored]
    return prod(shape) // block * taken


def encode(name: str, rows: torch.Tensor, stored: Type) -> npt.NDArray[np.uint8]:
    """The bytes of float32 rows.

    Errors: DataError `UnsupportedExport` for numbers beyond float16, in which the values or their scales are stored.
    """
    largest = float(rows.abs().max()) if rows.numel() else 0.0
    if largest > _LARGEST[stored]:
        raise unsupported(
            f"{name} has a number of {largest:.4g}, and {stored.name} holds at most {_LARGEST[stored]:.6g}."
        )
    if stored == Type.F16:
        return rows.to(torch.float16).contiguous().view(torch.uint8).numpy().reshape(-1)
    if stored == Type.F32:
        return rows.contiguous().view(torch.uint8).numpy().reshape(-1)
    # The library divides by a block's scale, which for the least numbers of float32 has no inverse.
    scaled = torch.where(rows.abs() < _SMALLEST, 0.0, rows)
    return quants.quantize(np.ascontiguousarray(scaled.numpy()), stored).reshape(-1)


_SMALLEST = 1e-30
_HALF = float(torch.finfo(torch.float16).max)
_LARGEST = {Type.F32: float("inf"), Type.F16: _HALF, Type.Q8_0: 127 * _HALF, Type.Q4_0: 8 * _HALF}
