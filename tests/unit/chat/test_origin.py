"""Sourced text is str in every respect, and its origins go where its characters go."""

from typing import Any

from deepseek_runtime.chat.origin import TEMPLATE, Sourced, joined, origins, plain
from hypothesis import given
from hypothesis import strategies as st

LETTERS = st.text("ab <", max_size=12)
SOURCED = st.lists(st.tuples(LETTERS, st.integers(0, 3)), max_size=4).map(
    lambda parts: joined(Sourced(text, origin) for text, origin in parts)
)
NUMBERS = st.integers(-4, 12)
CALLS = st.one_of(
    st.tuples(st.sampled_from(["strip", "lstrip", "rstrip"]), st.tuples(st.none() | LETTERS)),
    st.tuples(st.sampled_from(["split", "rsplit"]), st.tuples(st.none() | LETTERS.filter(bool), NUMBERS)),
    st.tuples(st.just("replace"), st.tuples(LETTERS, SOURCED | LETTERS, NUMBERS)),
    st.tuples(st.just("join"), st.tuples(st.lists(SOURCED | LETTERS, max_size=3))),
    st.tuples(st.just("__getitem__"), st.tuples(st.builds(slice, NUMBERS, NUMBERS))),
    st.tuples(st.sampled_from(["__add__", "__radd__"]), st.tuples(SOURCED | LETTERS)),
)


def apply(text: str, method: str, arguments: tuple[Any, ...]) -> Any:
    if method == "__radd__":
        return arguments[0] + text
    return getattr(text, method)(*arguments)


@given(SOURCED, CALLS)
def test_the_text_is_what_str_gives(text: str, call: tuple[str, tuple[Any, ...]]) -> None:
    found, expected = apply(text, *call), apply(plain(text), *call)
    assert found == expected
    for part in found if isinstance(found, list) else [found]:
        assert len(origins(part)) == len(part)


@given(LETTERS, CALLS)
def test_no_method_makes_a_letter_the_templates(text: str, call: tuple[str, tuple[Any, ...]]) -> None:
    """Letters a and b come from outside, < and blanks are the template's: whatever is done, no other origin shows."""

    def mark(text: str) -> str:
        return joined(Sourced(letter, TEMPLATE if letter in " <" else 0) for letter in text)

    method, arguments = call
    marked = tuple(
        [mark(plain(a)) for a in argument]
        if isinstance(argument, list)
        else mark(plain(argument))
        if isinstance(argument, str)
        else argument
        for argument in arguments
    )
    found = apply(mark(text), method, marked)
    for part in found if isinstance(found, list) else [found]:
        kept = [TEMPLATE if letter in " <" else 0 for letter in part]
        assert list(origins(part)) == kept or (method == "replace" and marked[0] == "" and not any(origins(part)))


def test_what_is_not_followed_is_from_outside() -> None:
    text = Sourced("<a>", TEMPLATE)
    for lost in (text.upper(), f"{text:>5}", text * 2, text.title(), Sourced(text), plain(text)):
        assert not any(origins(lost))
    assert origins(text[1]) == bytes([TEMPLATE])
    assert all(origins(str(text)))
