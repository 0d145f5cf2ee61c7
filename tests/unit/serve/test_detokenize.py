from collections.abc import Sequence

from deepseek_runtime.serve.detokenize import Detokenizer, StopMatcher
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.serve.models import VOCABULARY, make_tokenizer

TOKENIZER = make_tokenizer()


@given(st.lists(st.integers(2, VOCABULARY - 1), max_size=80))
def test_parts_add_up_to_the_whole_for_any_tokens(tokens: list[int]) -> None:
    detokenizer = Detokenizer(TOKENIZER.decode)
    parts = [detokenizer.push(token) for token in tokens]
    assert "".join(parts) + detokenizer.flush() == TOKENIZER.decode(tokens)


def test_bytes_that_are_no_text_are_not_decoded_again_and_again() -> None:
    decoded = 0

    def decode(tokens: Sequence[int]) -> str:
        nonlocal decoded
        decoded += len(tokens)
        return TOKENIZER.decode(list(tokens))

    never_ends = TOKENIZER.token_to_id("\u00e4")  # the byte 0xE4 begins a character of three bytes
    detokenizer = Detokenizer(decode)
    parts = [detokenizer.push(never_ends) for _ in range(2000)]
    assert "".join(parts) + detokenizer.flush() == TOKENIZER.decode([never_ends] * 2000)
    assert decoded < 2000 * 100


@given(st.text(max_size=20))
def test_a_character_is_shown_when_it_is_complete_and_never_in_pieces(text: str) -> None:
    detokenizer = Detokenizer(TOKENIZER.decode)
    parts = [detokenizer.push(token) for token in TOKENIZER.encode(text, add_special_tokens=False).ids]
    shown = "".join(parts)
    assert text.startswith(shown)
    assert all("\ufffd" not in part for part in parts)
    assert shown + detokenizer.flush() == text


def first_complete(text: str, stops: list[str]) -> tuple[str, bool]:
    """The definition: letter by letter, until some stop string is there."""
    for end in range(len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)], True
    return text, False


@given(st.lists(st.text("ab", max_size=4), max_size=12), st.lists(st.text("ab", min_size=1, max_size=4), max_size=4))
def test_stop_strings_cut_at_the_same_place_however_the_text_is_split(parts: list[str], stops: list[str]) -> None:
    matcher = StopMatcher(stops)
    shown, stopped = "", False
    expected, expected_stop = first_complete("".join(parts), stops)
    for part in parts:
        text, stopped = matcher.push(part)
        shown += text
        assert expected.startswith(shown), "something was shown that a stop string takes back"
        if stopped:
            break
    if not stopped:
        shown += matcher.flush()
    assert (shown, stopped) == (expected, expected_stop)


def test_nothing_is_held_back_without_reason() -> None:
    matcher = StopMatcher(["STOP"])
    assert matcher.push("go on, ST") == ("go on, ", False)
    assert matcher.push("AY") == ("STAY", False)
    assert matcher.push("STOP here") == ("", True)
