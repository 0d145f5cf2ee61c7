"""One piece of work through its Jobs: made once, made anew only when something changed, done with its result."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from deepseek_runtime.wire.result import JobResult, decode

from deepseek_operator.api.base import LastFailure
from deepseek_operator.api.names import Annotation, Label, Reason
from deepseek_operator.controllers.conditions import moment
from deepseek_operator.controllers.decision import Child, Object, Observed, Ref, Remove
from deepseek_operator.controllers.failures import Failure, creation_failure, pods_failure, running_terminated
from deepseek_operator.controllers.resource import deleting, first
from deepseek_operator.desired.labels import Manifest, identity_label

RESULT_GRACE = 20.0
"""Seconds that a pod's last words may arrive after its Job's."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done for one part of a resource, and the Job that does it."""

    kind: str
    subject: str
    identity: str
    job: Callable[[int], Manifest]
    adjust: tuple[tuple[str, ...], ...] = ()
    together: bool = False
    """Its pods work all at once, or not at all."""

    @property
    def called(self) -> str:
        """For people: `quantize int8`."""
        return f"{self.kind} {self.subject}"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a piece of work stands. `child`: the Job that should exist, where one should."""

    state: Literal["Working", "Succeeded", "Failed"]
    job: str
    child: Child | None = None
    result: JobResult | None = None
    failure: LastFailure | None = None
    wake_after: float | None = None
    pods: tuple[Object, ...] = ()
    width: int = 1
    """Pods that must work at once."""
    removals: tuple[Remove, ...] = ()
    """A Job that has to go before it can be made as it is wanted now."""

    @property
    def waits(self) -> bool:
        """Whether it has no Job, though it is not done."""
        return self.state == "Working" and self.child is None and not self.pods and not self.removals

    @property
    def at_work(self) -> int:
        """Pods that run."""
        return sum((pod.get("status") or {}).get("phase") == "Running" and not deleting(pod) for pod in self.pods)

    @property
    def blocked(self) -> bool:
        """Whether a failure is what keeps it from going on: not all of its pods are at work meanwhile."""
        return self.failure is not None and self.at_work < self.width


def stand(work: Work, observed: Observed, now: datetime, volume_since: str = "", *, hold: bool = False) -> Standing:
    """Where a piece of work stands. What a Job had done before its volume was made went to one that is lost.

    `hold`: it is no time to start a Job.
    """
    standing = _stand(work, observed, now, volume_since)
    there = any(job["metadata"]["name"] == standing.job for job in jobs_of(work, observed))
    return standing if there or not hold else replace(standing, child=None)


def _stand(work: Work, observed: Observed, now: datetime, volume_since: str) -> Standing:
    jobs = sorted(jobs_of(work, observed), key=_attempt)
    if not jobs:
        return _start(work, 0)
    newest = jobs[-1]
    name, attempt = newest["metadata"]["name"], _attempt(newest)
    if ended(newest) and _ended_at(newest) < volume_since:
        return _start(work, attempt + 1)
    pods = tuple(pod for pod in observed.pods if job_of(pod) == name)
    if deleting(newest):
        return Standing("Working", name, pods=pods)
    if (complete := _condition(newest, "Complete")) is not None:
        return _finished(work, newest, attempt, pods, complete, now)
    failed = _condition(newest, "Failed")
    failure = _why(newest, pods, observed)
    wanted = work.job(attempt)
    changed = _template(wanted) != _template(newest)
    if failed is None:
        child = Child(wanted, create_only=True, adjust=work.adjust)
        shown = failure.of(f"Job/{name}") if failure is not None else None
        width = int((newest.get("spec") or {}).get("parallelism", 1))
        standing = Standing("Working", name, child, failure=shown, pods=pods, width=width)
        if changed and _idle(work, standing, suspended=bool(wanted["spec"].get("suspend"))):
            return replace(standing, child=None, removals=remove(newest, "its pods are wanted otherwise"))
        return standing
    if changed:
        return _start(work, attempt + 1)
    if failure is None:
        message = failed.get("message") or failed.get("reason", "")
        failure = Failure(Reason.WORK_FAILED, message, failed.get("lastTransitionTime", ""))
    return Standing("Failed", name, failure=_given_up(failure, name), pods=pods)


def _idle(work: Work, standing: Standing, *, suspended: bool) -> bool:
    """Whether nothing is lost with a Job that is made anew: one that is at work keeps what it was started with."""
    if work.together and standing.blocked:
        return True
    return not standing.at_work and (suspended or standing.failure is not None)


def jobs_of(work: Work, observed: Observed) -> list[Object]:
    """The Jobs that were made for exactly this work."""
    wanted = (work.kind, work.subject, identity_label(work.identity))
    return [job for job in observed.of_kind("Job") if _labels(job) == wanted]


def jobs_on(subject: str, observed: Observed) -> list[Object]:
    """The Jobs of any work on this part."""
    return [job for job in observed.of_kind("Job") if _labels(job)[1] == subject]


def outdated(kind: str, subject: str, identity: str, observed: Observed) -> tuple[Object, ...]:
    """Jobs that still run for what was wanted of this part before."""
    return tuple(
        job
        for job in observed.of_kind("Job")
        if _labels(job)[:2] == (kind, subject) and _labels(job)[2] != identity_label(identity) and not ended(job)
    )


def remove(obj: Object, why: str) -> tuple[Remove, ...]:
    """The removal of an object, unless it is already on its way."""
    return () if deleting(obj) else (Remove(Ref.of(obj), obj["metadata"]["uid"], why),)


def ended(job: Object) -> bool:
    """Whether a Job is over, well or badly."""
    return _condition(job, "Complete") is not None or _condition(job, "Failed") is not None


def gave_up(job: Object) -> bool:
    """Whether a Job has failed for good."""
    return _condition(job, "Failed") is not None


def _start(work: Work, attempt: int) -> Standing:
    manifest = work.job(attempt)
    child = Child(manifest, create_only=True, adjust=work.adjust)
    return Standing("Working", manifest["metadata"]["name"], child)


def _finished(
    work: Work, job: Object, attempt: int, pods: tuple[Object, ...], complete: Object, now: datetime
) -> Standing:
    name = job["metadata"]["name"]
    ends = [_ended_well(pod) for pod in pods if first(pod)]
    said = [str(ended.get("message") or "") for ended in ends if ended is not None]
    for result in map(decode, said):
        if result is not None and result.identity == work.identity and result.outcome == "succeeded":
            return Standing("Succeeded", name, result=result, pods=pods)
    at = complete.get("lastTransitionTime", "")
    if said:
        happened = f"Job {name} ended well but left no result for {work.identity[:8]}: its image speaks another version"
        failure = Failure(Reason.WORK_FAILED, happened, at)
        return Standing("Failed", name, failure=_given_up(failure, name), pods=pods)
    late = (now - moment(at)).total_seconds() if at else RESULT_GRACE
    if late < RESULT_GRACE:
        return Standing("Working", name, wake_after=RESULT_GRACE - late, pods=pods)
    return _start(work, attempt + 1)  # the pod is gone, its result is sealed: the next Job finds it in seconds


def _given_up(failure: Failure, job: str) -> LastFailure:
    shown = failure.of(f"Job/{job}")
    again = f" Deleting Job {job} tries again."
    return shown.model_copy(update={"message": shown.message[: 4096 - len(again)] + again})


def _why(job: Object, pods: tuple[Object, ...], observed: Observed) -> Failure | None:
    return pods_failure(pods, observed) or creation_failure(job, observed)


def _ended_well(pod: Object) -> Object | None:
    ended = running_terminated(pod)
    return ended if ended is not None and ended.get("exitCode") == 0 else None


def _condition(job: Object, type_: str) -> Object | None:
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition["type"] == type_ and condition["status"] == "True":
            return dict(condition)
    return None


def _labels(job: Object) -> tuple[str, str, str]:
    labels = job["metadata"].get("labels") or {}
    return labels.get(Label.WORK, ""), labels.get(Label.SUBJECT, ""), labels.get(Label.IDENTITY, "")


def job_of(pod: Object) -> str:
    """The name of the Job that a pod is of; empty where it is of none."""
    labels = pod["metadata"].get("labels") or {}
    return str(labels.get("batch.kubernetes.io/job-name") or labels.get("job-name", ""))


def _attempt(job: Object) -> int:
    return int((job["metadata"].get("annotations") or {}).get(Annotation.ATTEMPT, "0"))


def _ended_at(job: Object) -> str:
    """Not when it was made: that may be a second before its volume, for both are made at once."""
    condition = _condition(job, "Complete") or _condition(job, "Failed") or {}
    return str(condition.get("lastTransitionTime", ""))


def _template(job: Object) -> str:
    return str((job["metadata"].get("annotations") or {}).get(Annotation.TEMPLATE_HASH, ""))
