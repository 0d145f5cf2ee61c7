"""Copies of objects without what no decision reads and what cannot change.

Dropped are a Job's pod template, and of a pod's spec all but its volumes, its node and what it asks of one.
"""

from typing import Any, Final

from deepseek_operator.controllers.decision import Object

_LEVELS: Final = 64
"""Deeper than any resource of use, and less than a packer refuses. The API server takes ten thousand."""

_META = frozenset({"managedFields", "selfLink"})
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_POD_SPEC = frozenset({"volumes", "nodeName", "nodeSelector"})


def slim(obj: Object) -> Object:
    """A copy that shares its parts with the original."""
    meta = {key: value for key, value in obj["metadata"].items() if key not in _META}
    if _LAST_APPLIED in (annotations := meta.get("annotations") or {}):
        meta["annotations"] = {key: value for key, value in annotations.items() if key != _LAST_APPLIED}
    kept = {**obj, "metadata": meta}
    match obj["kind"]:
        case "Job" if "spec" in obj:
            kept["spec"] = {key: value for key, value in obj["spec"].items() if key != "template"}
        case "Pod" if "spec" in obj:
            kept["spec"] = {key: value for key, value in obj["spec"].items() if key in _POD_SPEC}
            asked = [{"resources": each.get("resources") or {}} for each in obj["spec"].get("containers") or ()]
            kept["spec"] |= {"containers": asked} if asked else {}
    return kept


def shallow(value: Any, levels: int = _LEVELS) -> Any:
    """A copy without what is nested deeper: null in its place, which no schema of ours takes there."""
    match value:
        case dict():
            return {key: shallow(item, levels - 1) for key, item in value.items()} if levels else None
        case list():
            return [shallow(item, levels - 1) for item in value] if levels else None
        case _:
            return value
