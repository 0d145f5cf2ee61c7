"""Live figures: from what a working pod shows to what the status says."""

from dataclasses import dataclass
from datetime import datetime

from deepseek_runtime.wire.progress import Progress

from deepseek_operator.api.base import ProgressStatus
from deepseek_operator.api.names import Condition, Reason
from deepseek_operator.controllers.conditions import Verdict, pending
from deepseek_operator.controllers.decision import Object, Observed, Unreachable
from deepseek_operator.controllers.remedies import with_remedy
from deepseek_operator.controllers.resource import deleting

PATIENCE = 30.0
"""Seconds without an answer before anybody is told."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The newest figures of one piece of work, and whether they can be read."""

    figures: Progress | None = None
    unreachable: Verdict | None = None
    wake_after: float | None = None


NOTHING = Shown()


def shown(pods: tuple[Object, ...], identity: str, observed: Observed, now: datetime) -> Shown:
    """What the pods of one piece of work show."""
    for pod in reversed(pods):
        name = pod["metadata"]["name"]
        answer = observed.progress.get(name)
        if deleting(pod) or answer is None:
            continue
        if isinstance(answer, Unreachable):
            silent = (now - answer.since).total_seconds()
            if silent < PATIENCE:
                return Shown(wake_after=PATIENCE - silent)
            happened = f"pod {name} has not shown its progress on port 9400 for {PATIENCE:.0f} s: {answer.error}"
            message = with_remedy(Reason.UNREACHABLE, happened)
            return Shown(unreachable=pending(Condition.PROGRESS_REACHABLE, Reason.UNREACHABLE, message))
        if answer.identity == identity:
            return Shown(answer)
    return Shown()


def progress_status(work: str, figures: Progress) -> ProgressStatus:
    """As the status shows it."""
    return ProgressStatus(
        work=work,
        phase=figures.phase,
        percent=percent(figures.done, figures.total),
        remaining=None if figures.remaining_seconds is None else duration(figures.remaining_seconds),
        tokens_per_second=figures.tokens_per_second,
        loss=figures.loss,
    )


def percent(done: int, total: int) -> int:
    """Whole percent, from 0 to 100."""
    return min(100, max(0, 100 * done // total)) if total > 0 else 0


def duration(seconds: float) -> str:
    """Time left for people: 42s, 3m20s, 5h07m."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"
