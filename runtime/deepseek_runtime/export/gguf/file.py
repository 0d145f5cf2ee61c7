"""A GGUF file, written from beginning to end: the header by the format's own library, then tensors in bands of rows.

The library itself writes whole tensors only, and those of a layer's experts are as large as all of its experts.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from gguf import GGUF_DEFAULT_ALIGNMENT, GGUFWriter

from deepseek_runtime.export.gguf.journal import Journal
from deepseek_runtime.export.gguf.layout import Rows, Tensor
from deepseek_runtime.export.gguf.stored_types import Type, encode, size
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.quantize.shards import finite
from deepseek_runtime.weights.stored import StoredWeights

LOG = logging.getLogger(__name__)

_BLOCK = 1 << 20
BAND = 1 << 22
"""Numbers that are rounded at once, as far as they are not rearranged."""
MARK = 1 << 28
"""Bytes after which the journal is told how far the file is: more often the disk would be waited for."""


def write(
    path: Path,
    header: GGUFWriter,
    contents: Sequence[tuple[Tensor, Type]],
    weights: StoredWeights,
    done: Callable[[int], None],
    journal: Journal,
) -> str:
    """Write what an earlier process has not; returns the file's SHA-256.

    `header` has its keys already, `done` is told bytes of tensors as they come. Errors: DataError `NotFinite` names a
    tensor with NaN or infinity; as `stored_types.encode`.
    """
    head = _head(path.with_name(".header"), header, contents)
    with path.open("r+b" if path.exists() else "w+b") as file:
        kept, digest = _kept(file, head, [size(tensor.shape, stored) for tensor, stored in contents], journal)
        marked = file.tell()

        def append(data: bytes | memoryview) -> None:
            digest.update(data)
            file.write(data)

        if not kept:
            append(head)
        done(sum(size(tensor.shape, stored) for tensor, stored in contents[:kept]))
        for tensor, stored in contents[kept:]:
            for rows in _read(tensor, weights):
                data = encode(tensor.name, rows, stored)
                append(data.data)
                done(data.nbytes)
            append(bytes(_padding(file.tell())))
            if file.tell() - marked >= MARK:
                marked = file.tell()
                file.flush()
                os.fdatasync(file.fileno())
                journal.mark(marked, digest.hexdigest())
    return digest.hexdigest()


def _head(path: Path, header: GGUFWriter, contents: Sequence[tuple[Tensor, Type]]) -> bytes:
    """All that comes before the tensors; the library writes it to a file only, and that one is removed."""
    for tensor, stored in contents:
        header.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), size(tensor.shape, stored), stored)
    header.write_header_to_file(path)
    header.write_kv_data_to_file()
    header.write_ti_data_to_file()
    header.close()
    head = path.read_bytes()
    path.unlink()
    return head + bytes(_padding(len(head)))


def _kept(file: BinaryIO, head: bytes, sizes: Sequence[int], journal: Journal) -> tuple[int, "hashlib._Hash"]:
    """How many tensors an earlier process has finished, and the digest up to there, where the file now ends.

    Of a head that this version writes otherwise, or of bytes that are not what the journal says, nothing is kept.
    """
    ends = {
        offset: number
        for number, offset in enumerate(accumulate((each + _padding(each) for each in sizes), initial=len(head)))
    }
    last, digest = journal.last(os.fstat(file.fileno()).st_size), hashlib.sha256()
    if last is not None and last[0] in ends and file.read(len(head)) == head:
        digest.update(head)
        while block := file.read(min(_BLOCK, last[0] - file.tell())):
            digest.update(block)
        if digest.hexdigest() == last[1]:
            LOG.info("going on: %d of %d tensors are finished", ends[last[0]], len(sizes))
            file.truncate()
            return ends[last[0]], digest
    journal.remove()
    file.seek(0)
    file.truncate()
    return 0, hashlib.sha256()


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


def _padding(offset: int) -> int:
    return -offset % GGUF_DEFAULT_ALIGNMENT
