"""How a text of any length is measured by a model of limited context: overlapping windows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """`tokens` go in; the prediction at position p is scored against `targets[p]`, from `first` on."""

    tokens: Sequence[int]
    targets: Sequence[int]
    first: int

    @property
    def scored(self) -> int:
        """How many targets count."""
        return len(self.targets) - self.first


def windows(tokens: Sequence[int], bos: int, context_length: int) -> Iterator[Window]:
    """Windows of at most `context_length` tokens that score every token of a document exactly once.

    The first is given the beginning-of-text token; each later one overlaps half of the one before, so that a token
    has at least half a window of context, as in https://huggingface.co/docs/transformers/perplexity.
    """
    sequence = [bos, *tokens]
    stride = max(1, context_length // 2)
    scored = start = 0
    while scored < len(tokens):
        end = min(start + context_length, len(tokens))
        yield Window(sequence[start:end], sequence[start + 1 : end + 1], scored - start)
        scored, start = end, start + stride
