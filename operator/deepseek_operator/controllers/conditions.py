"""Conditions as kstatus, `kubectl wait`, Argo CD and Flux read them.

`Ready` is always there, `Reconciling` and `Stalled` only when true; a condition that does not apply is absent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from deepseek_operator.api.base import StatusCondition
from deepseek_operator.api.names import Condition, Reason

Truth = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One condition without its times. `stalled`: nothing goes on until somebody changes something."""

    type: str
    status: Truth
    reason: str
    message: str
    stalled: bool = False

    def as_type(self, condition: str, status: Truth) -> "Verdict":
        """The same reason and message under another type."""
        return Verdict(condition, status, self.reason, self.message)


def holds(condition: str, reason: str, message: str) -> Verdict:
    """A condition that is true."""
    return Verdict(condition, "True", reason, message)


def pending(condition: str, reason: str, message: str) -> Verdict:
    """A condition that is not true yet; somebody works on it."""
    return Verdict(condition, "False", reason, message)


def stalled(condition: str, reason: str, message: str) -> Verdict:
    """A condition that stays false until somebody changes something; the message says what."""
    return Verdict(condition, "False", reason, message, stalled=True)


def roll_up(domain: Sequence[Verdict], ready: Verdict) -> tuple[Verdict, ...]:
    """`Ready`, `Reconciling` or `Stalled`, then the domain's: the first false one copies its reason and message up.

    One that is stalled comes before one that merely waits, which may be waiting for it.
    """
    false = [verdict for verdict in domain if verdict.status != "True"]
    if not false:
        return (ready, *domain)
    first = next((verdict for verdict in false if verdict.stalled), false[0])
    kstatus = Condition.STALLED if first.stalled else Condition.RECONCILING
    return (first.as_type(Condition.READY, "False"), first.as_type(kstatus, "True"), *domain)


def refused(reason: str, message: str) -> tuple[Verdict, ...]:
    """All conditions of a resource that cannot be worked on as it is."""
    return (
        Verdict(Condition.READY, "False", reason, message),
        Verdict(Condition.STALLED, "True", reason, message),
    )


def terminating(*more: Verdict) -> tuple[Verdict, ...]:
    """All conditions of a resource that is being deleted."""
    message = "the resource is being deleted; nothing is made for it any more"
    return (
        Verdict(Condition.READY, "False", Reason.TERMINATING, message),
        Verdict(Condition.RECONCILING, "True", Reason.TERMINATING, message),
        *more,
    )


def stamp(
    verdicts: Iterable[Verdict], previous: Sequence[StatusCondition], generation: int, now: datetime
) -> list[StatusCondition]:
    """The conditions to write; the time of transition changes only when the status does."""
    before = {condition.type: condition for condition in previous}
    stamped = []
    for verdict in verdicts:
        old = before.get(verdict.type)
        since = old.last_transition_time if old is not None and old.status == verdict.status else timestamp(now)
        stamped.append(
            StatusCondition(
                type=verdict.type,
                status=verdict.status,
                reason=verdict.reason,
                message=verdict.message,
                last_transition_time=since,
                observed_generation=generation,
            )
        )
    return stamped


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, whole seconds, as Kubernetes writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(stamp: str) -> datetime:
    """The moment that an RFC 3339 time names."""
    return datetime.fromisoformat(stamp)
