"""From a decision and what is seen to the writes that are needed, and no more. Pure, so it can be tested."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import orjson

from deepseek_operator.api.names import GROUP, PLURALS, Annotation, Label
from deepseek_operator.controllers.decision import Child, Decision, Object, Ref, Remove
from deepseek_operator.engine.difference import Path, at, differences, merge_patch, same_status

Settled = Mapping[Ref, tuple[str, str]]
"""Of children that the server never shows as they were applied: the hashes of what was applied and of what it shows."""


@dataclass(frozen=True, slots=True)
class Create:
    """POST an object that is only ever created."""

    manifest: Object

    @property
    def ref(self) -> Ref:
        """Where it will live."""
        return Ref.of(self.manifest)


@dataclass(frozen=True, slots=True)
class Apply:
    """Apply an object; `uid` is that of the one seen, None where none was. `drift`: where others changed it."""

    manifest: Object
    uid: str | None
    drift: Path | None = None

    @property
    def ref(self) -> Ref:
        """Where it lives."""
        return Ref.of(self.manifest)


@dataclass(frozen=True, slots=True)
class Adjust:
    """Bring single fields of an object in line that is otherwise only created."""

    ref: Ref
    patch: Object


@dataclass(frozen=True, slots=True)
class Blocked:
    """An object of the wanted name belongs to something else."""

    ref: Ref


ChildAction = Create | Apply | Adjust | Blocked

_MAKES_PODS = frozenset({"Job", "Deployment"})
"""Written before what their pods need: a scheduler and a kubelet take longer to come to that than the writes do."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Carried out in the order of the fields; the status comes after them, and finalizers are taken off at the end."""

    add_finalizers: Object | None = None
    deletes: tuple[Remove, ...] = ()
    children: tuple[ChildAction, ...] = ()
    following: tuple[ChildAction, ...] = ()
    status: Literal["same", "volatile", "changed"] = "same"
    keep_finalizers: tuple[str, ...] | None = None
    """All finalizers that shall be left, where one of the operator's own has to go."""


def plan(resource: Object, decision: Decision, seen: Callable[[Ref], Object | None], settled: Settled) -> Plan:
    """What to write so that the decision holds."""
    deleting = "deletionTimestamp" in resource["metadata"]
    present = list(resource["metadata"].get("finalizers") or ())
    own = {name for name in present if name.startswith(f"{GROUP}/")}
    first = sorted(
        (child for child in decision.children if not child.follows), key=lambda c: c.ref.kind not in _MAKES_PODS
    )
    following = tuple(child for child in decision.children if child.follows)
    missing, surplus = decision.finalizers - own, own - decision.finalizers
    return Plan(
        add_finalizers=(finalizers_patch(resource, [*present, *sorted(missing)]) if missing and not deleting else None),
        deletes=tuple(remove for remove in decision.remove if deletable(remove, seen(remove.ref))),
        children=() if deleting else _children(resource, first, seen, settled),
        following=() if deleting else _children(resource, following, seen, settled),
        status=status_change(resource, decision.status, decision.volatile),
        keep_finalizers=tuple(name for name in present if name not in surplus) if surplus else None,
    )


def finalizers_patch(resource: Object, finalizers: list[str]) -> Object:
    """A merge patch of nothing but the finalizers, that fails if the resource has changed meanwhile."""
    meta = resource["metadata"]
    return {
        "metadata": {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"], "finalizers": finalizers or None}
    }


def status_change(resource: Object, status: Object, volatile: frozenset[str]) -> Literal["same", "volatile", "changed"]:
    """Whether the status has to be written, and whether that can wait."""
    old = resource.get("status") or {}
    if same_status(old, status):
        return "same"
    steady_old, steady_new = ({key: value for key, value in s.items() if key not in volatile} for s in (old, status))
    return "volatile" if same_status(steady_old, steady_new) else "changed"


def stamped(manifest: Object) -> tuple[Object, str]:
    """The manifest with the hash of itself as an annotation, and the hash."""
    hashed = _digest(manifest)[:32]
    meta = manifest["metadata"]
    annotations = {**(meta.get("annotations") or {}), Annotation.APPLIED_HASH: hashed}
    return {**manifest, "metadata": {**meta, "annotations": annotations}}, hashed


def fingerprint(obj: Object) -> str:
    """A hash of an object without what changes though nobody edits it."""
    meta = {key: value for key, value in obj["metadata"].items() if key not in {"resourceVersion", "managedFields"}}
    return _digest({**obj, "metadata": meta, "status": None})


def belongs_to(obj: Object, owner_uid: str) -> bool:
    """Whether a child is this owner's, by label, by owner reference, or, where none can be, by name.

    The operator's own kinds belong to their users.
    """
    meta = obj["metadata"]
    return (
        obj["kind"] in PLURALS
        or uid_of_owner(obj) == owner_uid
        or any(owner["uid"] == owner_uid for owner in meta.get("ownerReferences") or ())
        or meta["name"].endswith(owner_uid)
    )


def uid_of_owner(obj: Object) -> str | None:
    """The UID of a child's owner, by its label."""
    uid: str | None = (obj["metadata"].get("labels") or {}).get(Label.OWNER_UID)
    return uid


def deletable(remove: Remove, seen: Object | None) -> bool:
    """Whether this very object was seen, and is not on its way out already."""
    return seen is not None and seen["metadata"]["uid"] == remove.uid and "deletionTimestamp" not in seen["metadata"]


def _digest(obj: Object) -> str:
    """Of sorted JSON. Every decision takes it of every child, so by the faster packer of the two."""
    return hashlib.sha256(orjson.dumps(obj, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _children(
    resource: Object, children: Sequence[Child], seen: Callable[[Ref], Object | None], settled: Settled
) -> tuple[ChildAction, ...]:
    actions: list[ChildAction] = []
    for child in children:
        found = seen(child.ref)
        if found is None:
            actions.append(Create(child.manifest) if child.create_only else Apply(stamped(child.manifest)[0], None))
        elif not belongs_to(found, resource["metadata"]["uid"]):
            actions.append(Blocked(child.ref))
        elif "deletionTimestamp" not in found["metadata"]:
            action = _adjust(child, found) if child.create_only else _apply(child, found, settled)
            actions += [action] if action else []
    return tuple(actions)


def _adjust(child: Child, found: Object) -> Adjust | None:
    wanted = [path for path in child.adjust if at(child.manifest, path) is not None]
    paths = [path for path in wanted if at(child.manifest, path) != at(found, path)]
    if not paths:
        return None
    patch = merge_patch(child.manifest, paths)
    patch["metadata"] = {**patch.get("metadata", {}), "uid": found["metadata"]["uid"]}
    return Adjust(child.ref, patch)


def _apply(child: Child, found: Object, settled: Settled) -> Apply | None:
    manifest, hashed = stamped(child.manifest)
    uid = found["metadata"]["uid"]
    if (found["metadata"].get("annotations") or {}).get(Annotation.APPLIED_HASH) != hashed:
        return Apply(manifest, uid)
    drift = next(differences(child.manifest, found), None)
    if drift is None or settled.get(child.ref) == (hashed, fingerprint(found)):
        return None
    return Apply(manifest, uid, drift)
