"""Text as it comes: nothing is shown that a later token could change or a stop string could take back."""

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]
"""Token ids to text, special tokens left out; an incomplete character at the end is U+FFFD."""

REPLACEMENT = "\ufffd"

PATIENCE = 16
"""Tokens that wait for the end of a character; a character has four bytes, so more of them are no text at all."""


class Detokenizer:
    """Decodes token by token; what the parts add up to is what all tokens together decode to.

    Decoders look back (a leading space is kept or dropped by what stands before), so each part is the difference of two
    decodings that start at the same earlier token.
    """

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._window: list[int] = []
        self._shown = 0  # tokens of the window whose text was given out

    def push(self, token: int) -> str:
        """The text that is certain now: empty while a character is incomplete."""
        self._window.append(token)
        whole = self._decode(self._window)
        if not whole.endswith(REPLACEMENT):
            return self._show(len(self._window))
        if len(self._window) - self._shown < PATIENCE:
            return ""
        return self._show(self._settled(whole))

    def flush(self) -> str:
        """What is left at the end, incomplete characters as U+FFFD."""
        return self._show(len(self._window))

    def _show(self, end: int) -> str:
        """The text of the window's tokens up to `end` that was not shown; they stay as context for what follows."""
        text = self._decode(self._window[:end])[len(self._decode(self._window[: self._shown])) :]
        self._window, self._shown = self._window[self._shown :], end - self._shown
        return text

    def _settled(self, whole: str) -> int:
        """How many tokens have their final text though the last has not: what is decoded apart must be the same.

        Without this, bytes that are no text would be decoded again from their beginning at every token.
        """
        for end in range(len(self._window) - 1, self._shown, -1):
            rest = self._decode(self._window[end:])
            if len(rest) > 1 and self._decode(self._window[:end]) + rest == whole:
                return end
        return self._shown


class StopMatcher:
    """Cuts a text before the stop string that is complete first, and holds back what may begin one.

    How the text is split into parts makes no difference.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """What can be shown now, and whether a stop string came: then nothing may be pushed any more."""
        self._held += text
        found = [(at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            _, at = min(found)  # the first to be complete, as if the text came letter by letter
            shown, self._held = self._held[:at], ""
            return shown, True
        keep = max((self._overlap(stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown, False

    def flush(self) -> str:
        """What was held back for a stop string that did not come."""
        text, self._held = self._held, ""
        return text

    def _overlap(self, stop: str) -> int:
        """Length of the longest end of the held text that begins the stop string."""
        longest = min(len(stop) - 1, len(self._held))
        return next((n for n in range(longest, 0, -1) if self._held.endswith(stop[:n])), 0)
