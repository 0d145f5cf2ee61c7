"""Text that knows of every character where it comes from, through whatever a template does with it."""

from collections.abc import Iterable
from typing import Any, SupportsIndex

OUTSIDE = 0
"""What somebody wrote: never a special token."""

TEMPLATE = 1
"""What the template itself writes."""

ANSWER = 2
"""A flag: what an assistant says, and a model is to learn."""


class Sourced(str):
    """A str with one origin for each character.

    What is lost is lost on the safe side: a plain str, and the result of any method that is not here, is OUTSIDE.
    """

    __slots__ = ("_origins",)

    _origins: bytes  # not readable by templates, as its name begins with an underscore

    def __new__(cls, text: object = "", origins: bytes | int = OUTSIDE) -> "Sourced":
        """`origins`: one for each character, or one for all."""
        made = super().__new__(cls, text)
        made._origins = origins if isinstance(origins, bytes) else bytes((origins,)) * len(made)
        return made

    def __str__(self) -> str:
        return self

    def __add__(self, other: Any) -> str:
        if not isinstance(other, str):
            return NotImplemented
        return Sourced(str.__add__(self, other), self._origins + origins(other))

    def __radd__(self, other: Any) -> str:
        if not isinstance(other, str):
            return NotImplemented
        return Sourced(str.__add__(other, self), origins(other) + self._origins)

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        if isinstance(key, slice):
            return Sourced(str.__getitem__(self, key), self._origins[key])
        return Sourced(str.__getitem__(self, key), self._origins[key])

    def strip(self, chars: str | None = None, /) -> str:
        """As str's."""
        return self._within([str.strip(self, chars)])[0]

    def lstrip(self, chars: str | None = None, /) -> str:
        """As str's."""
        cut = len(self) - len(str.lstrip(self, chars))
        return self[cut:]

    def rstrip(self, chars: str | None = None, /) -> str:
        """As str's."""
        return self[: len(str.rstrip(self, chars))]

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        """As str's."""
        return self._within(str.split(self, sep, maxsplit), sep)

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        """As str's."""
        return self._within(str.rsplit(self, sep, maxsplit), sep)

    def join(self, parts: Iterable[str], /) -> str:
        """As str's."""
        pieces = list(parts)
        return Sourced(str.join(self, pieces), self._origins.join(map(origins, pieces)))

    def replace(self, old: str, new: str, count: SupportsIndex = -1, /) -> str:
        """As str's; between characters (`old` is empty) origins are lost."""
        if not old:
            return str.replace(self, old, new, count)
        return Sourced(new, origins(new)).join(self.split(old, count))

    def _within(self, parts: list[str], between: str | None = None) -> list[str]:
        """Parts of this text, in their order, with their origins; `between` them is this, or white space."""
        found: list[str] = []
        at = 0
        for part in parts:
            at = str.find(self, part, at)
            found.append(Sourced(part, self._origins[at : at + len(part)]))
            at += len(part) + len(between or "")  # a part may begin as what stands before it
        return found


def origins(text: str) -> bytes:
    """One for each character."""
    return text._origins if isinstance(text, Sourced) else bytes(len(text))


def plain(text: str) -> str:
    """Without origins."""
    return str.__str__(text)


def joined(parts: Iterable[str]) -> str:
    """All parts in one, each character with its origin."""
    return Sourced("").join(parts)
