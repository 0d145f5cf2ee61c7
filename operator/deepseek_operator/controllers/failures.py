"""What Kubernetes says about a child in trouble, in the terms of the resource: reason, remedy, pod, exit code."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deepseek_runtime.wire.exit_codes import ExitCode
from deepseek_runtime.wire.result import decode

from deepseek_operator.api.base import LastFailure
from deepseek_operator.api.names import Reason
from deepseek_operator.controllers.decision import Object, Observed
from deepseek_operator.controllers.decision import Warning as WarningEvent
from deepseek_operator.controllers.remedies import REMEDIES, with_remedy
from deepseek_operator.controllers.resource import deleting

TERMINAL = frozenset({int(ExitCode.CONFIGURATION), int(ExitCode.DATA)})
"""Exit codes of work that would fail again."""

_PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"})
_NO_CONTAINER = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_MOUNT = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume"})
_PROVISION = frozenset({"ProvisioningFailed", "FailedBinding"})
# of one node's volume Kubernetes says the second until 1.33, the third from 1.34 on
_ELSEWHERE = ("pod affinity rules", "volume node affinity conflict", "PersistentVolume's node affinity")
_NO_DEVICE = re.compile(r"Insufficient [\w.-]+/")
"""Extended resources have a domain: nvidia.com/gpu."""
_UNBOUND = "unbound immediate PersistentVolumeClaims"
_NO_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" not found')
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Failure:
    """What happened to a child; `terminal`: it would happen again."""

    reason: str
    happened: str
    time: str
    pod: str | None = None
    exit_code: int | None = None
    terminal: bool = False
    complete: bool = False
    """The message comes from our own runtime, which says itself what to do."""

    @property
    def message(self) -> str:
        """What happened, and what to do."""
        return (self.happened if self.complete else with_remedy(self.reason, self.happened))[:_LONGEST]

    def of(self, component: str) -> LastFailure:
        """As the status shows it."""
        return LastFailure(
            component=component,
            reason=self.reason,
            message=self.message,
            exit_code=self.exit_code,
            pod=self.pod,
            time=self.time,
        )


def pods_failure(pods: Sequence[Object], observed: Observed) -> Failure | None:
    """The newest failure among pods; those that are being deleted do not count, nor does one that ended well."""
    found = [failure for pod in pods for failure in _pod_failures(pod, observed)]
    return max(found, key=lambda failure: (failure.time, failure.pod or "")) if found else None


def claim_failure(claim: Object | None, observed: Observed) -> Failure | None:
    """Why a claim gets no volume. Pending alone is no failure: many classes wait for the first pod."""
    if claim is None or (claim.get("status") or {}).get("phase", "Pending") == "Bound":
        return None
    name, storage_class = claim["metadata"]["name"], (claim.get("spec") or {}).get("storageClassName")
    for warning in reversed(observed.warnings.get(_uid(claim), ())):
        if warning.reason in _PROVISION:
            happened = (
                f"PersistentVolumeClaim {name} of class {storage_class or '(none)'} gets no volume: {warning.message}"
            )
            return Failure(Reason.VOLUME_MISSING, happened, warning.time)
    return None


def creation_failure(child: Object, observed: Observed) -> Failure | None:
    """Why the pods of a Job or Deployment are refused: quota, or a Pod Security policy."""
    for condition in _conditions(child):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            said = condition.get("message", "")
            return Failure(refusal(said), f"{_called(child)}: {said}", condition.get("lastTransitionTime", ""))
    for warning in reversed(observed.warnings.get(_uid(child), ())):
        if warning.reason == "FailedCreate":
            happened = f"pods of {_called(child)} are refused: {warning.message}"
            return Failure(refusal(warning.message), happened, warning.time)
    return None


def refusal(message: str) -> str:
    """The reason for a refused object: a quota's word (`exceeded quota: …`, `failed quota: …`), or another rule's."""
    return Reason.QUOTA_EXCEEDED if " quota: " in message else Reason.FORBIDDEN


def failed(pod: Object) -> bool:
    """Whether a pod ended badly by itself: one that was evicted or preempted, or told to stop, did not."""
    if (pod.get("status") or {}).get("phase") != "Failed":
        return False
    ended = running_terminated(pod)
    told = ended is not None and ended.get("exitCode") == ExitCode.INTERRUPTED
    return not (told or any(c["type"] == "DisruptionTarget" and c["status"] == "True" for c in _conditions(pod)))


def running_terminated(pod: Object) -> Object | None:
    """How the pod's container ended, the last time it did."""
    for status in _containers(pod):
        state = (status.get("state") or {}).get("terminated") or (status.get("lastState") or {}).get("terminated")
        if state is not None:
            return dict(state)
    return None


def _pod_failures(pod: Object, observed: Observed) -> Iterator[Failure]:
    status, warnings = pod.get("status") or {}, observed.warnings.get(_uid(pod), ())
    if deleting(pod) or status.get("phase") == "Succeeded":
        return
    name = pod["metadata"]["name"]
    if status.get("reason") == "Evicted":
        message = status.get("message", "")
        reason = Reason.OUT_OF_MEMORY if "memory" in message else Reason.CRASHED
        yield Failure(reason, f"pod {name} was evicted: {message}", _created(pod), name)
    if (since := _lost_since(pod)) is not None:
        happened = f"node {(pod.get('spec') or {}).get('nodeName', '')} of pod {name} does not answer"
        yield Failure(Reason.NODE_LOST, happened, since, name)
    for container in _containers(pod):
        if not container.get("ready", False):
            yield from _container_failure(pod, container)
    if status.get("phase", "Pending") == "Pending":
        yield from _scheduling_failure(pod, warnings, observed)
        if (warning := _last(warnings, _MOUNT)) is not None:
            yield Failure(
                _unmounted(warning.message), f"pod {name} cannot mount: {warning.message}", warning.time, name
            )


def _lost_since(pod: Object) -> str | None:
    """Since when a running pod's node does not answer: the kubelet's word stands, and the control plane denies it."""
    conditions = {condition["type"]: condition for condition in _conditions(pod)}
    ready, containers = conditions.get("Ready", {}), conditions.get("ContainersReady", {})
    denied = ready.get("status") == "False" and containers.get("status") == "True"
    return str(ready.get("lastTransitionTime", "")) if denied else None


def _container_failure(pod: Object, container: Object) -> Iterator[Failure]:
    name = pod["metadata"]["name"]
    waiting: dict[str, Any] = (container.get("state") or {}).get("waiting") or {}
    said = waiting.get("message") or waiting.get("reason", "")
    said = said.rpartition("ErrImagePull: ")[2]  # the kubelet says it now with, now without "Back-off pulling image"
    if waiting.get("reason") in _PULL:
        image = container.get("image", "")
        yield Failure(Reason.IMAGE_PULL_FAILED, f"pod {name} cannot get image {image}: {said}", _created(pod), name)
    elif waiting.get("reason") in _NO_CONTAINER:
        reason = Reason.VOLUME_MISSING if "not found" in said else Reason.CRASHED
        yield Failure(reason, f"the container of pod {name} cannot start: {said}", _created(pod), name)
    ended = running_terminated(pod)
    if ended is not None and (failure := _ended(name, ended)) is not None:
        yield failure


def _ended(pod: str, ended: Object) -> Failure | None:
    code = int(ended.get("exitCode", 0))
    if code in (ExitCode.DONE, ExitCode.INTERRUPTED):
        return None
    time, text = ended.get("finishedAt") or "", str(ended.get("message") or "")
    result = decode(text)
    own = result is not None and bool(result.message)
    said = result.message if result is not None and result.message else _last_line(text)
    if ended.get("reason") == "OOMKilled" or code == ExitCode.OUT_OF_MEMORY:
        happened = f"pod {pod} ran out of memory (exit code {code})" + (f": {said}" if said else "")
        return Failure(Reason.OUT_OF_MEMORY, happened, time, pod, code, complete=own)
    if code in TERMINAL:
        reason = result.reason if result is not None and result.reason else Reason.WORK_FAILED
        happened = said or f"pod {pod} ended with exit code {code}"
        return Failure(reason, happened, time, pod, code, terminal=True, complete=own)
    happened = f"pod {pod} ended with exit code {code}" + (f": {said}" if said else "")
    reason = result.reason if result is not None and result.reason in REMEDIES else Reason.CRASHED
    return Failure(reason or Reason.CRASHED, happened, time, pod, code)


def _scheduling_failure(pod: Object, warnings: Sequence[WarningEvent], observed: Observed) -> Iterator[Failure]:
    name = pod["metadata"]["name"]
    for condition in _conditions(pod):
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            message = condition.get("message", "")
            if _UNBOUND in message and not warnings:
                continue  # a new claim is bound in a moment; warnings are looked up only when it is not
            if (missed := _NO_CLAIM.search(message)) and observed.child("PersistentVolumeClaim", missed[1]):
                continue  # the scheduler heard of the pod before it heard of the claim
            happened = f"no node can run pod {name}: {message}"
            yield Failure(_unschedulable(message), happened, condition.get("lastTransitionTime", ""), name)


def _unschedulable(message: str) -> str:
    """Which of the scheduler's complaints it is: a volume, one that is elsewhere, a device, or no room."""
    if "not found" in message or _UNBOUND in message:
        return Reason.VOLUME_MISSING
    if any(words in message for words in _ELSEWHERE):
        return Reason.NEEDS_SHARED_VOLUME
    return Reason.DEVICE_MISSING if _NO_DEVICE.search(message) else Reason.UNSCHEDULABLE


def _unmounted(message: str) -> str:
    """Why a volume cannot be mounted: no Secret, held by another node though ReadWriteOnce, or not there."""
    if ': secret "' in message or "secret key" in message:
        return Reason.SECRET_MISSING
    return Reason.NEEDS_SHARED_VOLUME if "Multi-Attach" in message else Reason.VOLUME_MISSING


def _last(warnings: Sequence[WarningEvent], reasons: frozenset[str]) -> WarningEvent | None:
    return next((warning for warning in reversed(warnings) if warning.reason in reasons), None)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:1024] if lines else ""


def _containers(pod: Object) -> list[Object]:
    return list((pod.get("status") or {}).get("containerStatuses") or ())


def _conditions(obj: Object) -> list[Object]:
    return list((obj.get("status") or {}).get("conditions") or ())


def _created(obj: Object) -> str:
    return str(obj["metadata"].get("creationTimestamp", ""))


def _uid(obj: Object) -> str:
    return str(obj["metadata"]["uid"])


def _called(obj: Object) -> str:
    return f"{obj['kind']}/{obj['metadata']['name']}"
