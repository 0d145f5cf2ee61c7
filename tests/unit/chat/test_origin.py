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


PARTS = st.lists(st.text("ab<> ", max_size=4) | st.sampled_from(["<a>", "<", "a"]), min_size=1, max_size=5)


@given(PARTS, st.sampled_from(["<a>", "<", "a", "aa", " "]), NUMBERS, st.sampled_from(["split", "rsplit"]))
def test_every_part_has_the_origins_of_its_own_place(parts: list[str], sep: str, most: int, method: str) -> None:
    whole = sep.join(parts)
    text = Sourced(whole, bytes(range(len(whole))))
    at = 0
    for part in getattr(text, method)(sep, most):
        assert list(origins(part)) == list(range(at, at + len(part)))
        at += len(part) + len(sep)
    assert at == len(whole) + len(sep)


@given(PARTS, st.sampled_from(["<a>", "<", "a"]), NUMBERS)
def test_what_is_not_replaced_keeps_its_origin(parts: list[str], old: str, count: int) -> None:
    whole = old.join(parts)
    text = Sourced(whole, bytes(range(1, len(whole) + 1)))
    kept = list(origins(text.replace(old, "", count)))
    at, expected = 0, []
    for part in whole.split(old, count):
        expected += range(at + 1, at + 1 + len(part))
        at += len(part) + len(old)
    assert kept == expected


@given(st.text("ab  ", max_size=12), NUMBERS, st.sampled_from(["split", "rsplit"]))
def test_parts_between_white_space_have_their_own_origins(whole: str, most: int, method: str) -> None:
    text = Sourced(whole, bytes(range(len(whole))))
    for part in getattr(text, method)(None, most):
        first, last = origins(part)[0], origins(part)[-1]
        assert (whole[first : last + 1], last - first + 1) == (part, len(part))
        assert list(origins(part)) == list(range(first, last + 1))


def test_what_a_user_writes_as_a_separator_stays_the_users() -> None:
    text = joined([Sourced("<|user|>", TEMPLATE), Sourced("<|user|>"), Sourced("<|eos|>", TEMPLATE)])
    said = text.split("<|user|>", 1)[1]
    assert (said, origins(said)) == ("<|user|><|eos|>", bytes(8) + bytes([TEMPLATE]) * 7)
    assert not any(origins(joined([Sourced("a", TEMPLATE), Sourced("a")]).replace("a", "", 1)))
    assert not any(origins(joined([Sourced("a"), Sourced("a", TEMPLATE)]).rsplit("a", 1)[0]))


def test_what_is_not_followed_is_from_outside() -> None:
    text = Sourced("<a>", TEMPLATE)
    for lost in (text.upper(), f"{text:>5}", text * 2, text.title(), Sourced(text), plain(text)):
        assert not any(origins(lost))
    assert origins(text[1]) == bytes([TEMPLATE])
    assert all(origins(str(text)))
