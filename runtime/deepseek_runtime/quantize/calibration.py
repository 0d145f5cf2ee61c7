"""The text that calibrates a quantization, as sequences of tokens."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch

from deepseek_runtime.evaluate.perplexity import load_tokenizer
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.models import text
from deepseek_runtime.train.tokens import special_token


@dataclass(frozen=True, slots=True)
class Sequences:
    """Tokens (sequences, length), each row begun by the beginning-of-text token, and the SHA-256 of what was read."""

    tokens: torch.Tensor
    digest: str

    @property
    def count(self) -> int:
        """Tokens in all."""
        return self.tokens.numel()


def read(model: Path, paths: Sequence[str], samples: int, length: int) -> Sequences:
    """`samples` sequences of `length` tokens, spread evenly over the whole text; fewer where the text has fewer.

    The digest is of the files' bytes, in the order of their names. Errors: DataError `MissingText`, `EmptyText`,
    `NotUtf8`, and `TextTooShort` where no file fills a sequence.
    """
    tokenizer = load_tokenizer(model)
    begin = special_token(model, "bos")
    found = text.files(paths)
    hashed = hashlib.sha256()
    rows: list[list[int]] = []
    longest = (0, found[0])
    for file in found:
        content = text.read(file)
        hashed.update(content.encode())
        ids = tokenizer.encode(content, add_special_tokens=False).ids
        longest = max(longest, (len(ids), file))
        step = length - 1
        rows += [[begin, *ids[at : at + step]] for at in range(0, len(ids) - step + 1, step)]
    if not rows:
        raise DataError(
            "TextTooShort",
            f"{longest[1]} has {longest[0]} tokens, a calibration sequence needs {length - 1}. Give more text or "
            "a smaller calibration.sequenceLength.",
        )
    count = min(samples, len(rows))
    chosen = [rows[index * len(rows) // count] for index in range(count)]
    tokens = torch.tensor(list(chain.from_iterable(chosen))).view(count, length)
    return Sequences(tokens, hashed.hexdigest())
