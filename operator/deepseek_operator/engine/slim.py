"""Copies of objects that are small enough to keep by the ten thousand.

Dropped is what no decision reads and what cannot change: a Job's pod template, and of a pod's spec all but its volumes
and its node. Equal short strings are kept once, and so are the rules of NetworkPolicies, which most have in common.
"""

import json
import sys
from functools import lru_cache
from typing import Any

from deepseek_operator.controllers.decision import Object

_META = frozenset({"managedFields", "selfLink"})
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_POD_SPEC = frozenset({"volumes", "nodeName"})
_RULES = frozenset({"policyTypes", "ingress", "egress"})
_SHARED = 96
"""Characters up to which strings are worth sharing: keys, labels, names, UIDs, digests."""


def slim(obj: Object) -> Object:
    """A copy that shares nothing with its original but what cannot be changed."""
    meta = {key: value for key, value in obj["metadata"].items() if key not in _META}
    if _LAST_APPLIED in (annotations := meta.get("annotations") or {}):
        meta["annotations"] = {key: value for key, value in annotations.items() if key != _LAST_APPLIED}
    kept = {**obj, "metadata": meta}
    match obj["kind"]:
        case "Job" if "spec" in obj:
            kept["spec"] = {key: value for key, value in obj["spec"].items() if key != "template"}
        case "Pod" if "spec" in obj:
            kept["spec"] = {key: value for key, value in obj["spec"].items() if key in _POD_SPEC}
    copy: Object = _shared(kept)
    if obj["kind"] == "NetworkPolicy" and "spec" in obj:
        copy["spec"] |= {key: _once(json.dumps(value)) for key, value in copy["spec"].items() if key in _RULES}
    return copy


@lru_cache(maxsize=256)
def _once(text: str) -> Any:
    return _shared(json.loads(text))


def _shared(value: Any) -> Any:
    if isinstance(value, dict):
        return {sys.intern(key): _shared(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shared(item) for item in value]
    if isinstance(value, str) and len(value) <= _SHARED:
        return sys.intern(value)
    return value
