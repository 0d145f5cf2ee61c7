"""How the API server merges: JSON merge patch (RFC 7396), and server-side apply for one manager among others."""

import json
from typing import Any, TypeVar

from deepseek_operator.controllers.decision import Object

T = TypeVar("T")

_ATOMIC = {"selector", "podSelector", "namespaceSelector", "matchLabels", "nodeSelector"}

_LIST_KEYS = {
    "containers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "ports": "port",
    "conditions": "type",
    "artifacts": "name",
    "stages": "name",
    "ownerReferences": "uid",
}


def copied(value: T) -> T:
    """A copy of JSON, five times faster than copy.deepcopy."""
    copy: T = json.loads(json.dumps(value))
    return copy


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return copied(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def apply(live: Any, before: Any, wanted: Any, key: str = "") -> Any:
    """`before` is what the same manager applied last: what it no longer wants goes, what others added stays."""
    if isinstance(wanted, dict) and key not in _ATOMIC:
        live, before = (value if isinstance(value, dict) else {} for value in (live, before))
        merged = {name: value for name, value in live.items() if name in wanted or name not in before}
        for name, value in wanted.items():
            merged[name] = apply(live.get(name), before.get(name), value, name)
        return merged
    if isinstance(wanted, list) and key in _LIST_KEYS and all(_LIST_KEYS[key] in item for item in wanted):
        return _apply_list(live or [], before or [], wanted, _LIST_KEYS[key])
    return copied(wanted)


def _apply_list(live: list[Object], before: list[Object], wanted: list[Object], key: str) -> list[Object]:
    old = {item.get(key): item for item in live}
    mine = {item.get(key): item for item in before}
    names = [item.get(key) for item in wanted]
    merged = [apply(old.get(item.get(key)), mine.get(item.get(key)), item) for item in wanted]
    return merged + [copied(item) for name, item in old.items() if name not in names and name not in mine]


def conflicts(live: Any, before: Any, wanted: Any) -> bool:
    """Whether an apply without force would change what another manager has set."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        mine = before if isinstance(before, dict) else {}
        return any(conflicts(live[name], mine.get(name), value) for name, value in wanted.items() if name in live)
    return bool(live != wanted and before is None)
