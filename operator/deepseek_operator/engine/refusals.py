"""A child that the API server refuses, told in the status of its resource: what, why, and what to do."""

from collections.abc import Sequence
from datetime import datetime

from deepseek_operator.api.names import Condition, Reason
from deepseek_operator.controllers.decision import Object
from deepseek_operator.controllers.failures import refusal
from deepseek_operator.engine import errors
from deepseek_operator.engine.writer import Failed

_REMEDIES = {
    Reason.QUOTA_EXCEEDED: "Ask for less, or have the quota raised; it is tried again.",
    Reason.FORBIDDEN: "Have the policy changed that refuses it; it is tried again.",
    Reason.INVALID_CONFIG: "Change the field that the message names.",
    Reason.NAME_TAKEN: "Rename or remove the other object; it is left as it is.",
}

_LONGEST = 3000
"""Letters of the API server's own words: with what is said around them they fit into every field of a status."""


def lasting(failures: Sequence[Failed]) -> Failed | None:
    """The first failure that will not pass by itself, so that people have to know of it."""
    for failure in failures:
        error = failure.error
        if isinstance(error, errors.OwnedByOtherError) or not (error.passing or error.namespace_terminating):
            return failure
    return None


def reason(failure: Failed) -> str:
    """The reason for conditions and events."""
    match failure.error:
        case errors.OwnedByOtherError():
            return Reason.NAME_TAKEN
        case errors.InvalidError():
            return Reason.INVALID_CONFIG
        case _:
            return refusal(failure.error.message)


def message(failure: Failed) -> str:
    """What happened, and what to do."""
    if isinstance(failure.error, errors.OwnedByOtherError):
        what = "an object of this name is there and belongs to something else."
    else:
        what = f"refused by the API server: {failure.error.message[:_LONGEST]}."
    return f"{failure.ref.kind}/{failure.ref.name}: {what} {_REMEDIES[reason(failure)]}"


def told(resource: Object, status: Object, failure: Failed, now: datetime) -> Object:
    """The status that was decided, with the failure on top: not ready, stalled, and `lastFailure`."""
    why, text = reason(failure), message(failure)
    time = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    old = resource.get("status") or {}
    earlier = {condition["type"]: condition for condition in old.get("conditions") or ()}

    def condition(kind: str, value: str) -> Object:
        before = earlier.get(kind, {})
        return {
            "type": kind,
            "status": value,
            "reason": why,
            "message": text,
            "lastTransitionTime": before["lastTransitionTime"] if before.get("status") == value else time,
            "observedGeneration": resource["metadata"]["generation"],
        }

    replaced = {Condition.READY, Condition.STALLED, Condition.RECONCILING}
    last = old.get("lastFailure") or {}
    component = f"{failure.ref.kind}/{failure.ref.name}"
    known = (last.get("component"), last.get("reason"), last.get("message")) == (component, why, text)
    return {
        **status,
        "conditions": [
            *(item for item in status.get("conditions") or () if item["type"] not in replaced),
            condition(Condition.READY, "False"),
            condition(Condition.STALLED, "True"),
        ],
        "lastFailure": last if known else {"component": component, "reason": why, "message": text, "time": time},
    }
