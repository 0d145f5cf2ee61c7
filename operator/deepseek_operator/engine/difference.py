"""Whether an object is as desired, after the API server has filled in its defaults.

Of a map only the keys that are desired count, for others may own the rest; selectors count as a whole, for one label
more selects other things. Of a list everything counts: an element too many is a change too. Three lists are shared by
several writers and need only contain what is desired.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from deepseek_operator.controllers.decision import Object
from deepseek_operator.desired.quantity import amount

Path = tuple[str, ...]

_SHARED_LISTS = frozenset({"ownerReferences", "finalizers", "imagePullSecrets"})
_WHOLE_MAPS = frozenset({"selector", "podSelector", "namespaceSelector", "matchLabels", "nodeSelector"})
_QUANTITIES = frozenset({"limits", "requests", "sizeLimit", "capacity"})
_OMITTED_WHEN_ZERO = frozenset({"readOnly", "value", "hostNetwork", "hostPID", "hostIPC", "stdin", "tty", "optional"})
"""Fields without a pointer in Kubernetes' types: written as false or empty, they are not there when read."""
_LIST_KEYS = ("type", "name")


def differences(desired: Any, observed: Any, path: Path = ()) -> Iterator[Path]:
    """The paths at which the observed object is not as desired; inside of a list, the list's path."""
    if isinstance(desired, dict) and isinstance(observed, dict):
        for key, value in desired.items():
            if key in observed:
                yield from differences(value, observed[key], (*path, key))
            elif not (_empty(value) or (not value and key in _OMITTED_WHEN_ZERO)):
                yield (*path, key)
        if path and path[-1] in _WHOLE_MAPS and not observed.keys() <= desired.keys():
            yield path
    elif isinstance(desired, list) and isinstance(observed, list):
        if not _list_matches(desired, observed, path):
            yield path
    elif not _equal_scalars(desired, observed, path):
        yield path


def _list_matches(desired: list[Any], observed: list[Any], path: Path) -> bool:
    if path and path[-1] in _SHARED_LISTS:
        return all(any(_matches(wanted, found, path) for found in observed) for wanted in desired)
    return len(desired) == len(observed) and all(
        _matches(wanted, found, path) for wanted, found in zip(desired, observed, strict=True)
    )


def _matches(desired: Any, observed: Any, path: Path) -> bool:
    return next(differences(desired, observed, path), None) is None


def _equal_scalars(desired: Any, observed: Any, path: Path) -> bool:
    if desired == observed or (_empty(desired) and _empty(observed)):
        return True
    if not _QUANTITIES.isdisjoint(path):
        left, right = _quantity(desired), _quantity(observed)
        return left is not None and left == right
    return False


def _quantity(value: Any) -> Decimal | None:
    try:
        return amount(str(value))
    except ValueError:
        return None


def _empty(value: Any) -> bool:
    return value is None or value == {} or value == []


def at(obj: Object, path: Path) -> Any:
    """The value at a path, None where there is none."""
    value: Any = obj
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def merge_patch(desired: Object, paths: list[Path]) -> Object:
    """The JSON merge patch that sets the desired values at these paths and touches nothing else; lists are replaced."""
    patch: Object = {}
    for path in paths:
        source, target = desired, patch
        for key in path[:-1]:
            source, target = source[key], target.setdefault(key, {})
        target[path[-1]] = source[path[-1]]
    return patch


def same_status(left: Any, right: Any) -> bool:
    """Whether two statuses say the same: absent, null and empty are one, and lists with keys have no order."""
    if isinstance(left, dict) and isinstance(right, dict):
        keys = left.keys() | right.keys()
        return all(same_status(left.get(key), right.get(key)) for key in keys)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(
            same_status(one, other) for one, other in zip(_ordered(left), _ordered(right), strict=True)
        )
    return bool(left == right) or (_empty(left) and _empty(right))


def _ordered(items: list[Any]) -> list[Any]:
    for key in _LIST_KEYS:
        if all(isinstance(item, dict) and key in item for item in items):
            return sorted(items, key=lambda item: str(item[key]))
    return items
