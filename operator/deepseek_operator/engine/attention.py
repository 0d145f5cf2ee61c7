"""Which children are worth a request: pods that work have progress, children in trouble have Warning events."""

from deepseek_operator.api.names import MODEL, TRAINING, Label
from deepseek_operator.controllers.decision import Object


def works(obj: Object) -> bool:
    """Whether this is a running pod of a Job, which shows its progress on its status port.

    Of an engine readiness says all. Whoever can create pods can put these labels on one: what it is then sent, a
    signed request for progress, is good for nothing else.
    """
    labels = obj["metadata"].get("labels") or {}
    status = obj.get("status") or {}
    return (
        obj["kind"] == "Pod"
        and labels.get(Label.OWNER_KIND) in {MODEL, TRAINING}
        and Label.WORK in labels
        and status.get("phase") == "Running"
        and bool(status.get("podIP"))
        and "deletionTimestamp" not in obj["metadata"]
    )


def troubled(obj: Object) -> bool:
    """Whether this child is not getting anywhere, so that its Warning events may say why."""
    status, spec = obj.get("status") or {}, obj.get("spec") or {}
    match obj["kind"]:
        case "Pod" | "PersistentVolumeClaim":
            return bool(status.get("phase", "Pending") == "Pending")
        case "Job":
            ended = any(c["type"] in {"Complete", "Failed"} and c["status"] == "True" for c in _conditions(status))
            # a quota or a policy may admit some of its pods and refuse the others
            short = status.get("active", 0) + status.get("succeeded", 0) < spec.get("parallelism", 1)
            return short and not (ended or spec.get("suspend"))
        case "Deployment":
            wanted = spec.get("replicas", 1)
            return bool(wanted and status.get("replicas", 0) < wanted)
        case "DaemonSet":
            return bool(status.get("currentNumberScheduled", 0) < status.get("desiredNumberScheduled", 0))
        case _:
            return False


def _conditions(status: Object) -> list[Object]:
    conditions: list[Object] = status.get("conditions") or []
    return conditions
