"""Events: few, and only where the status changes."""

from deepseek_operator.api.base import CommonStatus, StatusCondition
from deepseek_operator.api.names import Condition
from deepseek_operator.controllers.decision import Event


def transitions(old: CommonStatus, new: CommonStatus, action: str) -> tuple[Event, ...]:
    """Became ready, got stuck, or something below failed anew. `action` says what the resource was about."""
    events = []
    if _true(new, Condition.READY) and not _true(old, Condition.READY):
        ready = _condition(new, Condition.READY)
        events.append(Event("Normal", ready.reason, ready.message, action))
    stalled = _condition(new, Condition.STALLED)
    if stalled.status == "True" and _condition(old, Condition.STALLED).reason != stalled.reason:
        events.append(Event("Warning", stalled.reason, stalled.message, action))
    failure, before = new.last_failure, old.last_failure
    known = (
        before is not None
        and failure is not None
        and ((before.component, before.reason) == (failure.component, failure.reason))
    )
    if failure is not None and not known and failure.reason != stalled.reason:
        events.append(Event("Warning", failure.reason, f"{failure.component}: {failure.message}", action))
    return tuple(events)


def _condition(status: CommonStatus, type_: str) -> StatusCondition:
    absent = StatusCondition(type=type_, status="Unknown", reason="", last_transition_time="")
    return next((condition for condition in status.conditions if condition.type == type_), absent)


def _true(status: CommonStatus, type_: str) -> bool:
    return _condition(status, type_).status == "True"
