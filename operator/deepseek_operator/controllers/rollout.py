"""Whether a service's pods answer: from its Deployment and pods to the condition EngineReady."""

from dataclasses import dataclass

from deepseek_operator.api.base import LastFailure
from deepseek_operator.api.inferenceservice import InferenceServiceStatus
from deepseek_operator.api.names import Condition, Reason
from deepseek_operator.controllers.conditions import Verdict, holds, pending, stalled
from deepseek_operator.controllers.decision import Object, Observed
from deepseek_operator.controllers.failures import Failure, creation_failure, pods_failure
from deepseek_operator.controllers.remedies import REMEDIES
from deepseek_operator.controllers.resource import deleting


@dataclass(frozen=True, slots=True)
class Rollout:
    """The pods of a service. `settled`: all of them run the revision that is wanted."""

    engine: Verdict
    replicas: int = 0
    ready: int = 0
    settled: bool = False
    failure: LastFailure | None = None
    going_on: Verdict | None = None
    """What goes on, or is stuck, though the service answers."""


def rollout(
    deployment: Object | None, wanted: int, *, proven: bool, previous: InferenceServiceStatus, observed: Observed
) -> Rollout:
    """`proven`: the Deployment seen runs the wanted revision, as far as its template goes."""
    if deployment is None:
        return Rollout(pending(Condition.ENGINE_READY, Reason.STARTING, "the pods are being made."))
    status, spec = deployment.get("status") or {}, deployment["spec"]
    current = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    replicas, ready = int(status.get("replicas", 0)), int(status.get("readyReplicas", 0))
    updated = int(status.get("updatedReplicas", 0))
    rolled = current and proven and spec.get("replicas", 1) == wanted and replicas == updated == wanted
    pods = _newest(observed.pods) if current and updated else ()
    found = pods_failure(pods, observed) or creation_failure(deployment, observed) or _ended(pods)
    failure = found.of(f"Deployment/{deployment['metadata']['name']}") if found is not None else None
    if wanted == 0:
        return Rollout(
            holds(Condition.ENGINE_READY, Reason.SCALED_TO_ZERO, "no pods are wanted: replicas is 0."),
            replicas, ready, settled=rolled,
        )  # fmt: skip
    if rolled and ready == wanted:
        message = f"{ready} of {wanted} pods can generate a token."
        return Rollout(holds(Condition.ENGINE_READY, Reason.READY, message), replicas, ready, settled=True)
    late = _late(deployment)
    if found is not None or late is not None:
        return _troubled(found, failure, late, wanted, replicas, ready)
    message = f"{ready} of {wanted} pods can generate a token, {updated} run what is wanted."
    answers = ready >= wanted or (ready > 0 and _was_ready(previous))
    if answers:
        engine = holds(Condition.ENGINE_READY, Reason.ROLLING_OUT, message)
        going_on = pending(Condition.RECONCILING, Reason.ROLLING_OUT, message)
        return Rollout(engine, replicas, ready, going_on=going_on)
    return Rollout(pending(Condition.ENGINE_READY, Reason.STARTING, message), replicas, ready)


def _newest(pods: tuple[Object, ...]) -> tuple[Object, ...]:
    """The pods of the template that was applied last: what becomes of earlier ones says nothing of it.

    Nor do pods that are over, evicted ones for example, which stay for long, once a later one is ready.
    """
    first: dict[str, str] = {}
    for pod in pods:
        first[_template(pod)] = min(first.get(_template(pod), _made(pod)), _made(pod))
    newest, answers = max(first.values(), default=""), max((_made(pod) for pod in pods if _ready(pod)), default="")
    counted = (pod for pod in pods if first[_template(pod)] == newest and not deleting(pod))
    return tuple(pod for pod in counted if not _over(pod) or _made(pod) > answers)


def _ended(pods: tuple[Object, ...]) -> Failure | None:
    """The last pod that ended well: evicted while it could still shut down, it keeps no reason in its status."""
    ended = [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Succeeded"]
    if not ended:
        return None
    last = max(ended, key=_made)
    name = last["metadata"]["name"]
    happened = f"pod {name} has ended, as no engine does by itself; its node may have evicted it, as its events say"
    return Failure(Reason.CRASHED, happened, _made(last), name)


def _template(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get("pod-template-hash", ""))


def _made(pod: Object) -> str:
    return str(pod["metadata"].get("creationTimestamp", ""))


def _over(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def _ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _troubled(
    found: Failure | None, failure: LastFailure | None, late: str | None, wanted: int, replicas: int, ready: int
) -> Rollout:
    """Pods that fail: the service answers only where all wanted ones of before still do."""
    reason = found.reason if found is not None and found.reason in REMEDIES else Reason.CRASHED
    message = found.message if found is not None else late or ""
    make = stalled if late is not None or (found is not None and found.terminal) else pending
    trouble = make(Condition.ENGINE_READY, reason, message)
    if ready < wanted:
        return Rollout(trouble, replicas, ready, failure=failure)
    said = f"{ready} pods of the revision before still answer."
    engine = holds(Condition.ENGINE_READY, Reason.ROLLING_OUT, said)
    return Rollout(engine, replicas, ready, failure=failure, going_on=trouble)


def _late(deployment: Object) -> str | None:
    for condition in (deployment.get("status") or {}).get("conditions") or ():
        if condition["type"] == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            return f"the pods did not become ready in time: {condition.get('message', '')}"
    return None


def _was_ready(previous: InferenceServiceStatus) -> bool:
    return any(each.type == Condition.READY and each.status == "True" for each in previous.conditions)
