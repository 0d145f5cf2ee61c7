"""A split's documents: JSON lines, each an object with the same fields."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from deepseek_runtime.evaluate.tasks.definition import Definition
from deepseek_runtime.job.errors import DataError

LONGEST = 256 << 20
"""Bytes of one split."""


@dataclass(frozen=True, slots=True)
class Document:
    """A line's fields, and what it is called in messages."""

    fields: dict[str, Any]
    name: str


def read(folder: Path, definition: Definition, split: str) -> list[Document]:
    """A split of a task, in the file's order; errors: DataError `BadDocuments`, which names the file and the line."""
    path = folder / definition.dataset_kwargs.data_files[split]
    try:
        size = path.stat().st_size
        if size > LONGEST:
            raise DataError("BadDocuments", f"{path} has {size} bytes; at most {LONGEST} are taken.")
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DataError("BadDocuments", f"{path}, the split {split}, cannot be read: {error}.") from error
    documents: list[Document] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            fields = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise DataError("BadDocuments", f"Line {number} of {path} is no JSON: {error}.") from error
        if not isinstance(fields, dict):
            raise DataError("BadDocuments", f"Line {number} of {path} is no object.")
        if documents and fields.keys() != documents[0].fields.keys():
            raise DataError("BadDocuments", f"Line {number} of {path} has other fields than {documents[0].name}.")
        documents.append(Document(fields, f"line {number} of {path.name}"))
    if not documents:
        raise DataError("BadDocuments", f"{path} has no documents. Put one JSON object on each line.")
    return documents


def first(documents: Sequence[Document], limit: int | None) -> list[Document]:
    """At most so many."""
    return list(documents if limit is None else documents[:limit])
