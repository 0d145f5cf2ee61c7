"""Proofs of who asks: good for one request at one workload, once, and soon."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from deepseek_runtime.wire import proof
from deepseek_runtime.wire.credential import private_key, public_key, workload
from deepseek_runtime.wire.proof import LIFETIME, RefusedError, Verifier, check_body, prove
from hypothesis import given
from hypothesis import strategies as st

MASTER = bytes(range(32))
CHAT = workload("InferenceService", "team", "chat", "uid-1")
KEY, PUBLIC = private_key(MASTER, CHAT), public_key(MASTER, CHAT)
NOW = 1_763_955_670.5
BODY = b'{"prompt": "hello"}'
ASKED: dict[str, Any] = {"method": "POST", "target": "/v1/completions", "body": BODY}


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def taken(verifier: Verifier, authorization: str | None, **other: Any) -> None:
    asked = {**ASKED, **other}
    check_body(verifier.check(asked["method"], asked["target"], authorization), asked["body"])


def test_a_request_is_taken_once() -> None:
    verifier, sent = Verifier(PUBLIC, Clock()), prove(KEY, **ASKED, now=NOW)
    taken(verifier, sent)
    for _ in range(3):
        with pytest.raises(RefusedError, match="used before"):
            taken(verifier, sent)
    taken(verifier, prove(KEY, **ASKED, now=NOW))


@pytest.mark.parametrize(
    "other",
    [
        {"method": "GET"},
        {"target": "/v1/models"},
        {"target": "/v1/completions?x=1"},
        {"target": "/\udcff"},
        {"body": BODY + b" "},
    ],
    ids=("method", "path", "query", "bytes", "body"),
)
def test_it_is_good_for_no_other_request(other: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match="for another"):
        taken(Verifier(PUBLIC, Clock()), prove(KEY, **ASKED, now=NOW), **other)


@pytest.mark.parametrize(
    ("master", "name"),
    [
        (MASTER, workload("InferenceService", "team", "other", "uid-2")),
        (MASTER, workload("InferenceService", "team", "chat", "uid-3")),
        (bytes(32), CHAT),
    ],
    ids=("another service", "the service made anew", "another installation"),
)
def test_it_is_good_at_no_other_workload(master: bytes, name: str) -> None:
    with pytest.raises(RefusedError, match="another workload"):
        taken(Verifier(public_key(master, name), Clock()), prove(KEY, **ASKED, now=NOW))


@given(st.floats(-1e6, 1e6))
def test_it_is_good_for_a_minute_around_its_making(late: float) -> None:
    clock = Clock()
    clock.now = int(NOW) + late
    verifier, sent = Verifier(PUBLIC, clock), prove(KEY, **ASKED, now=NOW)
    if abs(late) <= LIFETIME:
        taken(verifier, sent)
    else:
        with pytest.raises(RefusedError, match=r"s behind this" if late > 0 else r"s ahead of this"):
            taken(verifier, sent)


@given(st.lists(st.floats(0, 2 * LIFETIME), max_size=30), st.integers(-LIFETIME, LIFETIME))
def test_it_is_remembered_for_as_long_as_it_is_good(pauses: list[float], skew: int) -> None:
    clock = Clock()
    verifier, sent = Verifier(PUBLIC, clock), prove(KEY, **ASKED, now=int(NOW) + skew)
    clock.now = float(int(NOW))
    taken(verifier, sent)
    for pause in pauses:
        clock.now += pause
        taken(verifier, prove(KEY, **ASKED, now=clock.now))
        with pytest.raises(RefusedError):
            taken(verifier, sent)


@given(st.data())
def test_a_changed_proof_proves_nothing(data: st.DataObject) -> None:
    sent = prove(KEY, **ASKED, now=NOW)
    place = data.draw(st.integers(0, len(sent) - 1))
    changed = data.draw(st.characters(codec="latin-1").filter(lambda c: c != sent[place]))
    with pytest.raises(RefusedError):
        taken(Verifier(PUBLIC, Clock()), sent[:place] + changed + sent[place + 1 :])


@pytest.mark.parametrize("header", [None, "", "Bearer x", "DeepSeek-Ed25519", "DeepSeek-Ed25519 1.2.3.4"])
def test_what_is_no_proof_is_told_which_is_needed(header: str | None) -> None:
    with pytest.raises(RefusedError, match="DeepSeek-Ed25519"):
        taken(Verifier(PUBLIC, Clock()), header)


def test_of_threads_that_show_the_same_proof_one_is_let_in() -> None:
    verifier, sent = Verifier(PUBLIC, Clock()), prove(KEY, **ASKED, now=NOW)

    def tried(_: int) -> bool:
        try:
            taken(verifier, sent)
        except RefusedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(tried, range(64))) == 1


def test_what_is_remembered_is_bounded_and_makes_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "MOST_REMEMBERED", 5)
    clock = Clock()
    verifier = Verifier(PUBLIC, clock)
    first = prove(KEY, **ASKED, now=NOW)
    for sent in (first, *(prove(KEY, **ASKED, now=NOW) for _ in range(4))):
        taken(verifier, sent)
    with pytest.raises(RefusedError, match="More than 5"):
        taken(verifier, prove(KEY, **ASKED, now=NOW))
    with pytest.raises(RefusedError, match="used before"):
        taken(verifier, first)
    clock.now += 2 * LIFETIME + 1
    taken(verifier, prove(KEY, **ASKED, now=clock.now))


def test_a_proof_shows_nothing_of_the_key_and_keys_do_not_change() -> None:
    assert PUBLIC == "6bef60f20b610d6ff9ee10ce70d852d3e1f048ba3ad3d7d8e283fc031daa706c"
    assert KEY.private_bytes_raw().hex() not in prove(KEY, **ASKED, now=NOW)
