"""Tokenized examples on disk."""

import logging
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepseek_runtime.job.errors import DataError
from deepseek_runtime.wire.progress import Examples

TOKENS, ANSWERS, ENDS, FOUND = "tokens.bin", "answers.bin", "ends.bin", "found.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tokenized:
    """An example as tokens; `answers` tells of each whether it is learned, never of the first."""

    tokens: list[int]
    answers: list[bool]

    def cut(self, longest: int) -> "Tokenized":
        """As much of it as ends with a whole answer and has at most `longest` tokens: nothing, where none fits.

        What follows the last answer goes as well: nothing is learned from it.
        """
        shown = self.answers[: longest + 1]
        ends = (
            index + 1
            for index in range(min(longest, len(shown)) - 1, -1, -1)
            if shown[index] and (index + 1 == len(self.answers) or not shown[index + 1])
        )
        end = next(ends, 0)
        return Tokenized(self.tokens[:end], self.answers[:end])


@dataclass(frozen=True)
class Store:
    """Examples one after the other: number i is tokens[ends[i - 1] : ends[i]]."""

    tokens: NDArray[np.uint32]
    answers: NDArray[np.bool_]
    ends: NDArray[np.int64]
    found: Examples

    @classmethod
    def open(cls, directory: Path) -> "Store":
        """Those written by `write`, mapped, not read."""
        return cls(
            np.memmap(directory / TOKENS, dtype="<u4", mode="r"),
            np.memmap(directory / ANSWERS, dtype=np.bool_, mode="r"),
            np.fromfile(directory / ENDS, dtype="<i8"),
            Examples.model_validate_json((directory / FOUND).read_bytes()),
        )

    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each example."""
        return np.diff(self.ends, prepend=0)


def write(examples: Iterable[Tokenized], longest: int, target: Path) -> None:
    """Write examples of at most `longest` tokens into the directory `target`, which appears whole or not at all.

    A longer one ends with its last answer that fits whole; where none fits it is left out. Errors: DataError
    `EmptyText` where there is none, `ExamplesTooLong` where all are left out.
    """
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    ends, end, cut, left_out = [], 0, 0, 0
    with (partial / TOKENS).open("wb") as tokens, (partial / ANSWERS).open("wb") as answers:
        for example in examples:
            kept = example.cut(longest)
            if not kept.tokens:
                left_out += 1
                continue
            cut += sum(kept.answers) < sum(example.answers)
            tokens.write(np.asarray(kept.tokens, dtype="<u4").tobytes())
            answers.write(np.asarray(kept.answers, dtype=np.bool_).tobytes())
            end += len(kept.tokens)
            ends.append(end)
    if not ends and not left_out:
        raise DataError("EmptyText", "There is no example: every line of the data is empty.")
    if not ends:
        raise DataError(
            "ExamplesTooLong",
            f"None of {left_out} examples has an answer within {longest} tokens. Raise sequenceLength, or make them "
            "shorter.",
        )
    found = Examples(total=len(ends) + left_out, cut=cut, left_out=left_out)
    np.asarray(ends, dtype="<i8").tofile(partial / ENDS)
    (partial / FOUND).write_text(found.to_json())
    for name in (TOKENS, ANSWERS, ENDS, FOUND):
        descriptor = os.open(partial / name, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    partial.rename(target)
    log.info("tokenized %d examples: %d cut, %d left out, %d tokens", found.total, cut, left_out, end)
