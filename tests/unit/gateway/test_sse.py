"""Event streams, cut anywhere."""

from itertools import pairwise

import pytest
from deepseek_runtime.gateway.openai.sse import MAX_EVENT_BYTES, EventParser, EventTooLongError
from hypothesis import given
from hypothesis import strategies as st

STREAM = (
    '\ufeffdata: {"text": "四十二 🙂"}\r\n\r\n: comment\ndata:no space\ndata: second line\n\nid: 7\revent: x\r'
    "data: cr\r\rdata\n\ndatabase: not data\n\n\r\n\ndata: [DONE]\n\ndata: cut off"
).encode()
EVENTS = ['{"text": "四十二 🙂"}'.encode(), b"no space\nsecond line", b"cr", b"", b"[DONE]"]


def parse(chunks: list[bytes]) -> list[bytes]:
    parser = EventParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def test_every_single_split() -> None:
    for cut in range(len(STREAM) + 1):
        assert parse([STREAM[:cut], STREAM[cut:]]) == EVENTS, cut


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_any_splits(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    assert parse([STREAM[start:end] for start, end in pairwise(edges)]) == EVENTS


def test_byte_by_byte() -> None:
    assert parse([STREAM[index : index + 1] for index in range(len(STREAM))]) == EVENTS


def test_an_endless_event_is_an_error() -> None:
    parser = EventParser()
    with pytest.raises(EventTooLongError):
        for _ in range(MAX_EVENT_BYTES // 1000 + 2):
            parser.feed(b"data: " + b"x" * 1000 + b"\n")
