"""A GGUF file, written in one pass: the header by the format's own library, then tensor after tensor in bands of rows.

The library itself writes whole tensors only, and those of a layer's experts are as large as all of its experts.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from gguf import GGUFWriter

from deepseek_runtime.export.gguf.layout import Rows, Tensor
from deepseek_runtime.export.gguf.stored_types import Type, encode, size
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.quantize.shards import finite
from deepseek_runtime.weights.stored import StoredWeights

BAND = 1 << 22
"""Numbers that are rounded at once, as far as they are not rearranged."""


def write(
    path: Path,
    header: GGUFWriter,
    contents: Sequence[tuple[Tensor, Type]],
    weights: StoredWeights,
    done: Callable[[int], None],
) -> str:
    """Write everything; returns the file's SHA-256. `header` has its keys already, `done` is told bytes as they come.

    Errors: DataError `NotFinite` names a tensor with NaN or infinity; as `stored_types.encode`.
    """
    for tensor, stored in contents:
        header.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), size(tensor.shape, stored), stored)
    header.write_header_to_file(path)
    header.write_kv_data_to_file()
    header.write_ti_data_to_file()
    header.close()
    digest = hashlib.sha256(path.read_bytes())
    with path.open("ab") as file:

        def append(data: bytes | memoryview) -> None:
            digest.update(data)
            file.write(data)

        append(_padding(file, header.data_alignment))
        for tensor, stored in contents:
            for rows in _read(tensor, weights):
                data = encode(tensor.name, rows, stored)
                append(data.data)
                done(data.nbytes)
            append(_padding(file, header.data_alignment))
    return digest.hexdigest()


def _read(tensor: Tensor, weights: StoredWeights) -> Iterator[torch.Tensor]:
    """Its float32 rows, (rows, columns), from first to last."""
    for part in tensor.parts:
        if isinstance(part, Rows):
            yield from _bands(part, weights)
        else:
            yield part


def _bands(part: Rows, weights: StoredWeights) -> Iterator[torch.Tensor]:
    shape = weights.shape(part.source)
    columns = shape[1] if len(shape) > 1 else 1
    height = part.last - part.first if part.arrange is not None else max(1, BAND // columns)
    for first in range(part.first, part.last, height):
        rows = weights.read(part.source, (first, min(first + height, part.last)), torch.float32).to(torch.float32)
        if not finite(rows):
            raise DataError(
                "NotFinite", f"Tensor {part.source} has NaN or infinite values. Train or copy the model again."
            )
        yield rows if part.arrange is None else part.arrange(rows)


def _padding(file: BinaryIO, alignment: int) -> bytes:
    return bytes(-file.tell() % alignment)
