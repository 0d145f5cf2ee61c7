"""From a rendered conversation to tokens: what the template writes may be a special token, what people write never."""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from tokenizers import AddedToken, Tokenizer

from deepseek_runtime.chat.origin import ANSWER, OUTSIDE, TEMPLATE
from deepseek_runtime.chat.renderer import Rendered

ROUNDS = 8
"""How often forged tokens are cut at their ends; what is still forged then is read letter by letter."""

UNKNOWN = "\U0010fffd"
"""A character of private use, which no vocabulary has."""


@dataclass(frozen=True, slots=True)
class ChatTokens:
    """Token ids, and of each whether it is part of an assistant's answer, the token that ends it included."""

    ids: list[int]
    answers: list[bool]


class ForgedTokenError(ValueError):
    """A text has a character that is a control token whatever stands around it; the message names it."""


_FLAGGED = {flag: bytes(bool(origin & flag) for origin in range(256)) for flag in (TEMPLATE, ANSWER)}
"""For each flag a table from origins to 1 where they have it: searching bytes costs less than a loop."""


class _Token(NamedTuple):
    """A token and the characters `start:end` that it was made of."""

    id: int
    start: int
    end: int


class ChatTokenizer:
    """Tokenizes a conversation exactly as the model's tokenizer would, then undoes what was forged.

    A control token (special, or added and no plain word) is right where the template wrote all of its characters. Any
    other is cut, and the parts are read again, until none is left. What the tokenizer itself would put at the beginning
    or the end of a text is not added: that is the template's to write.
    """

    def __init__(self, tokenizer: Tokenizer, end: frozenset[int]) -> None:
        """`end`: the tokens that end an answer. The tokenizer is copied, for others change its settings as they go."""
        self._tokenizer: Tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._tokenizer.encode_special_tokens = False
        added = self._tokenizer.get_added_tokens_decoder()
        self._end = end
        # What stands for letters that the vocabulary lacks forges nothing.
        unknown = self._tokenizer.encode(UNKNOWN, add_special_tokens=False).ids
        self.control = frozenset(number for number, token in added.items() if is_control(token)).difference(unknown)

    def tokenize(self, rendered: Rendered) -> ChatTokens:
        """The conversation's tokens; errors: ForgedTokenError."""
        tokens = self._encode(rendered)
        return ChatTokens([token.id for token in tokens], self._answers(rendered.origins, tokens))

    def _encode(self, rendered: Rendered) -> list[_Token]:
        bounds = {0, len(rendered.text)}
        rounds = 0
        while True:
            tokens = [token for piece in pairwise(sorted(bounds)) for token in self._piece(rendered.text, *piece)]
            controls = [token for token in tokens if token.id in self.control]
            forged = [inner for token in controls if (inner := _forged(rendered, token)) is not None]
            if not forged:
                return tokens
            for start, end in forged:
                bounds |= _cuts(rendered, start, end, everywhere=rounds >= ROUNDS)
            rounds += 1

    def _piece(self, text: str, start: int, end: int) -> list[_Token]:
        encoding = self._tokenizer.encode(text[start:end], add_special_tokens=False)
        return [
            _Token(number, start + first, start + last)
            for number, (first, last) in zip(encoding.ids, encoding.offsets, strict=True)
        ]

    def _answers(self, origins: bytes, tokens: list[_Token]) -> list[bool]:
        said, written = (origins.translate(_FLAGGED[flag]) for flag in (ANSWER, TEMPLATE))
        answers = [1 in said[token.start : token.end] for token in tokens]
        for last in [at for at, answer in enumerate(answers) if answer and not any(answers[at + 1 : at + 2])]:
            if tokens[last].id in self._end:
                continue
            # What the template writes up to the end token, the model must write too.
            after = last + 1
            while after < len(tokens) and tokens[after].id not in self.control and _all(written, tokens[after]):
                after += 1
            if after < len(tokens) and tokens[after].id in self._end and _all(written, tokens[after]):
                answers[last + 1 : after + 1] = [True] * (after - last)
        return answers


class TextTokenizer(ChatTokenizer):
    """Tokenizes what people write, with no template around it.

    Special tokens that are written out in it are read as the letters they are written in, and what still becomes a
    control token (one that is added but not special, or that letters alone can spell) is cut as in a conversation.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        """`tokenizer` is copied."""
        super().__init__(tokenizer, frozenset())
        self._tokenizer.encode_special_tokens = True

    def encode(self, text: str) -> list[int]:
        """The text's tokens; errors: ForgedTokenError."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        if self.control.isdisjoint(ids):
            return ids
        return self.tokenize(Rendered(text, bytes((OUTSIDE,)) * len(text))).ids


def _all(flags: bytes, token: _Token) -> bool:
    """Whether all of its characters are flagged."""
    return 0 not in flags[token.start : token.end]


def _forged(rendered: Rendered, token: _Token) -> tuple[int, int] | None:
    """Where a control token stands that the template did not write, without the white space that some swallow."""
    text = rendered.text[token.start : token.end]
    start = token.start + len(text) - len(text.lstrip())
    end = max(token.end - len(text) + len(text.rstrip()), start)
    if start == end:
        start, end = token.start, token.end
    return None if all(origin & TEMPLATE for origin in rendered.origins[start:end]) else (start, end)


def is_control(token: AddedToken) -> bool:
    """Models often mark roles by added tokens that are not special; added words and white space are but text."""
    words = "".join(token.content.split())
    return token.special or not (words == "" or words.isalnum())


def _cuts(rendered: Rendered, start: int, end: int, *, everywhere: bool) -> set[int]:
    """Places inside a forged token, none of them between two characters of the template; errors: ForgedTokenError."""
    origins = rendered.origins
    first = next(at for at in range(start, end) if not origins[at] & TEMPLATE)
    wanted = range(start + 1, end) if everywhere else {start + 1, first, first + 1, end - 1}
    cuts = {at for at in wanted if start < at < end and not (origins[at - 1] & TEMPLATE and origins[at] & TEMPLATE)}
    if not cuts:
        raise ForgedTokenError(
            f"the text has {rendered.text[start:end]!r}, which by itself is a special token of the model"
        )
    return cuts
