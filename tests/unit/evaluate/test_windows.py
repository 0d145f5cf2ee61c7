"""Every token is scored once, with all the context that the model's length allows a half-overlapping window."""

from deepseek_runtime.evaluate.windows import windows
from hypothesis import given
from hypothesis import strategies as st

BOS = -1


@given(length=st.integers(0, 300), context=st.integers(1, 50))
def test_every_token_is_scored_exactly_once_with_at_least_half_a_window(length: int, context: int) -> None:
    scored: list[int] = []
    for window in windows(range(length), BOS, context):
        assert 1 <= len(window.tokens) == len(window.targets) <= context
        assert window.scored > 0
        for position in range(window.first, len(window.targets)):
            target = window.targets[position]
            seen = list(window.tokens[: position + 1])
            assert seen == [BOS, *range(length)][target + 1 - len(seen) : target + 1]
            assert len(seen) >= min(target + 1, context // 2)
            scored.append(target)
    assert scored == list(range(length))
