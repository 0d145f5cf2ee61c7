"""What becomes of a claim that is wanted otherwise: it grows, is waited for, or is made anew while it has no volume."""

from collections.abc import Iterable

from deepseek_operator.api.names import Annotation
from deepseek_operator.controllers.attempts import remove
from deepseek_operator.controllers.decision import Child, Object, Observed, Remove
from deepseek_operator.desired.quantity import amount


def growth(manifest: Object, observed: Observed) -> tuple[tuple[str, ...], ...]:
    """A claim may grow and never shrinks: what to bring in line of one that is there."""
    seen = observed.child("PersistentVolumeClaim", manifest["metadata"]["name"])
    if seen is None:
        return ()
    asked = ((seen.get("spec") or {}).get("resources") or {}).get("requests", {}).get("storage", "0")
    return (("spec", "resources", "requests"),) if _larger(_size(manifest), asked) else ()


def growing(manifest: Object, observed: Observed) -> str | None:
    """What is waited for where a volume is to become larger than it is: a Job that lacked room would lack it again.

    A file system that grows when it is next mounted waits for the Job itself.
    """
    name = manifest["metadata"]["name"]
    status = (observed.child("PersistentVolumeClaim", name) or {}).get("status") or {}
    now = (status.get("capacity") or {}).get("storage")
    mounting = any(
        condition["type"] == "FileSystemResizePending" and condition["status"] == "True"
        for condition in status.get("conditions") or ()
    )
    if now is None or mounting or not _larger(_size(manifest), now):
        return None
    return f"the volume of PersistentVolumeClaim {name} is growing from {now} to {_size(manifest)}."


def without_volume(children: Iterable[Child], observed: Observed) -> tuple[Remove, ...]:
    """The removal of claims that are wanted otherwise, of another class say, and have no volume that could be lost."""
    removals: list[Remove] = []
    for wanted in (child.manifest for child in children if child.ref.kind == "PersistentVolumeClaim"):
        seen = observed.child("PersistentVolumeClaim", wanted["metadata"]["name"])
        if seen is None or (seen.get("status") or {}).get("phase", "Pending") != "Pending":
            continue
        if (seen.get("spec") or {}).get("volumeName"):  # restored from a backup, say, and not bound yet
            continue
        asked, asks = ((obj["metadata"].get("annotations") or {}).get(Annotation.VOLUME_HASH) for obj in (seen, wanted))
        if asked is not None and asked != asks:
            removals += remove(seen, "it has no volume, and is wanted otherwise")
    return tuple(removals)


def _size(claim: Object) -> str:
    return str(claim["spec"]["resources"]["requests"]["storage"])


def _larger(wanted: str, now: str) -> bool:
    try:
        return amount(wanted) > amount(now)
    except ValueError:  # 1e9, say: a form that this operator never writes
        return False
