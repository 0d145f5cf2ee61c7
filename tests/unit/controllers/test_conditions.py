"""Conditions as kstatus and `kubectl wait` read them."""

from datetime import UTC, datetime, timedelta

from deepseek_operator.controllers.conditions import Verdict, holds, pending, roll_up, stalled, stamp
from deepseek_operator.controllers.progress import duration, percent
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 1, 1, tzinfo=UTC)
READY = holds("Ready", "Ready", "all done")

verdicts = st.builds(
    lambda name, make: make(name, f"{name}Reason", f"{name} message"),
    st.sampled_from(["Acquired", "VariantsReady", "Evaluated"]),
    st.sampled_from([holds, pending, stalled]),
)


@given(st.lists(verdicts, max_size=3, unique_by=lambda verdict: verdict.type))
def test_the_summary_is_the_conjunction_and_copies_the_first_that_is_false(domain: list[Verdict]) -> None:
    rolled = roll_up(domain, READY)
    found = {verdict.type: verdict for verdict in rolled}
    false = [verdict for verdict in domain if verdict.status != "True"]
    assert (found["Ready"].status == "True") == (not false)
    assert ("Stalled" in found) == any(verdict.stalled for verdict in false)
    assert ("Reconciling" in found) == (bool(false) and "Stalled" not in found)
    assert len(found) == len(rolled)
    if false:
        copied = next((verdict for verdict in false if verdict.stalled), false[0])
        assert (found["Ready"].reason, found["Ready"].message) == (copied.reason, copied.message)


def test_the_time_of_transition_changes_with_the_status_alone() -> None:
    first = stamp([pending("Ready", "Building", "a")], [], 1, NOW)
    later = stamp([pending("Ready", "Quantizing", "b")], first, 2, NOW + timedelta(minutes=1))
    assert later[0].last_transition_time == first[0].last_transition_time == "2026-01-01T00:00:00Z"
    assert (later[0].reason, later[0].observed_generation) == ("Quantizing", 2)
    last = stamp([READY], later, 2, NOW + timedelta(minutes=2))
    assert last[0].last_transition_time == "2026-01-01T00:02:00Z"


def test_times_and_shares_for_people() -> None:
    assert [duration(seconds) for seconds in (-1, 0, 42.4, 200, 3599.6, 18420)] == [
        "0s", "0s", "42s", "3m20s", "1h00m", "5h07m",
    ]  # fmt: skip
    assert [percent(1, 0), percent(1, 3), percent(400, 400), percent(500, 400)] == [0, 33, 100, 100]
