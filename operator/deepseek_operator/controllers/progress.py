"""Live figures: from what a working pod shows to what the status says."""

from dataclasses import dataclass
from datetime import datetime

from deepseek_runtime.wire.progress import Progress

from deepseek_operator.api.base import ProgressStatus
from deepseek_operator.api.names import Condition, Reason
from deepseek_operator.controllers.conditions import Verdict, pending
from deepseek_operator.controllers.decision import Object, Observed, Unreachable
from deepseek_operator.controllers.remedies import REMEDIES, with_remedy
from deepseek_operator.controllers.resource import deleting, first
from deepseek_operator.desired.quantity import human_bytes

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
    """What the pods of one piece of work show, the first of several before the others."""
    newest_first = pods[::-1]
    for pod in sorted(newest_first, key=first, reverse=True):
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
        bytes=_bytes(figures),
        speed=f"{human_bytes(round(figures.bytes_per_second))}/s" if figures.bytes_per_second is not None else None,
        loss=figures.loss,
    )


def trouble(pods: tuple[Object, ...], identity: str, observed: Observed, now: datetime) -> tuple[str, str] | None:
    """Reason and message of what a working pod says it cannot get past for now."""
    figures = shown(pods, identity, observed, now).figures
    if figures is None or figures.trouble is None:
        return None
    said = figures.trouble
    reason = said.reason if said.reason in REMEDIES else Reason.WORK_FAILED
    return reason, with_remedy(reason, said.message)


def _bytes(figures: Progress) -> str | None:
    if figures.unit != "bytes" or figures.total <= 0:
        return None
    return f"{human_bytes(figures.done)} of {human_bytes(figures.total)}"


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
