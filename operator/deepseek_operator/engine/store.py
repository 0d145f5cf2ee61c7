"""What the watches have shown: slim copies of every object, found by owner and by reference."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

import orjson
from deepseek_runtime.wire.progress import Progress

from deepseek_operator.api.names import Label
from deepseek_operator.controllers.decision import Controller, Object, Observed, Ref, Unreachable
from deepseek_operator.controllers.decision import Warning as ChildWarning
from deepseek_operator.engine import attention
from deepseek_operator.engine.shelf import Packed, Shelf
from deepseek_operator.engine.slim import shallow, slim

log = logging.getLogger(__name__)

_TOMBSTONES: Final = 4096


class Waker(Protocol):
    """Who is told which resources to look at: the work queue."""

    def add(self, key: Ref) -> None:
        """At once."""
        ...

    def add_soon(self, key: Ref) -> None:
        """In a moment, once for all that happens until then, and after what is urgent."""
        ...


class Store:
    """Every change that a decision could see wakes the resources that it concerns.

    The changed resource is looked at at once, and so is what refers to it and what it refers to and may begin to use.
    An owner of children is looked at in a moment, for they change together, and so is what a new resource refers to: a
    hundred new services on a model are one change to it.
    """

    def __init__(self, controllers: Mapping[str, Controller], namespace: str, waker: Waker) -> None:
        self._controllers = controllers
        self._namespace = namespace
        self._waker = waker
        self._objects = Shelf()
        self._children: dict[Ref, set[Ref]] = {}
        self._references: dict[Ref, frozenset[Ref]] = {}
        self._referrers: dict[Ref, set[Ref]] = {}
        self._gone: dict[str, int] = {}
        """The last objects seen to go, by UID, oldest first, with the version at which they went.

        An answer that arrives late must not bring one back; a later version may, when a label is put on again.
        """
        self._progress: dict[Ref, Progress | Unreachable] = {}
        self._warnings: dict[str, tuple[ChildWarning, ...]] = {}
        self.conditions: Counter[tuple[str, str, str]] = Counter()
        """How many resources of a kind have a condition in a state, by kind, type and status."""
        self.working: set[Ref] = set()
        self.troubled: set[Ref] = set()
        self.bereaved: set[Ref] = set()
        """Resources that have lost a child: they may be gone themselves, unnoticed."""

    def get(self, ref: Ref) -> Object | None:
        """The newest copy seen."""
        return self._objects.get(ref)

    @property
    def size(self) -> int:
        """How many resources of the operator's own kinds there are."""
        return len(self._references)

    def uid(self, ref: Ref) -> str | None:
        """The UID of an object that is there."""
        entry = self._objects.entry(ref)
        return entry.uid if entry is not None else None

    def uids(self, kind: str) -> dict[Ref, str]:
        """The UIDs of all objects of a kind."""
        return {
            ref: entry.uid
            for ref in self._objects
            if ref.kind == kind and (entry := self._objects.entry(ref)) is not None
        }

    def has(self, ref: Ref, version: str) -> bool:
        """Whether the object is known as it was at this resource version, or later."""
        entry = self._objects.entry(ref)
        return entry is not None and entry.version >= int(version)

    def put(self, obj: Object) -> None:
        """Take in an object from a watch or from the answer to a write; older copies are ignored."""
        ref, uid, version = Ref.of(obj), obj["metadata"]["uid"], int(obj["metadata"]["resourceVersion"])
        old = self._objects.entry(ref)
        if version <= max(self._gone.get(uid, 0), old.version if old is not None else 0):
            return
        self._gone.pop(uid, None)
        if old is not None and old.uid != uid:
            self.drop(ref, old.uid)
            old = None
        new, packed = self._pack(obj)
        self._count(ref, new)
        self._objects.put(ref, packed)
        if old is not None and old.data == packed.data:
            return
        if old is not None and old.owner != packed.owner:
            self._unlink(ref, old.owner)
        self._link(ref, new, packed.owner)
        self._notify(ref, packed.owner)
        if old is None:
            self._wake_soon(self._references.get(ref, ()))
        else:
            self._wake(self._references.get(ref, ()))

    def drop(self, ref: Ref, uid: str, version: str = "0") -> None:
        """Forget an object that is gone since a version; one of the same name with another UID stays."""
        old = self._objects.entry(ref)
        known = old is not None and old.uid == uid
        self._gone[uid] = max(int(version), old.version if old is not None and known else 0)
        while len(self._gone) > _TOMBSTONES:
            del self._gone[next(iter(self._gone))]
        if old is None or not known:
            return
        references = self._references.get(ref, frozenset())
        if old.owner is not None and ref.kind != "Pod" and self._objects.entry(old.owner) is not None:
            self.bereaved.add(old.owner)
        self.bereaved.discard(ref)
        self._count(ref, None)
        self._objects.remove(ref)
        self._unlink(ref, old.owner)
        self._warnings.pop(uid, None)
        self._progress.pop(ref, None)
        self._notify(ref, old.owner)
        self._wake_soon(references)

    def observe(self, resource: Object, *, namespace_terminating: bool = False) -> Observed:
        """What a decision about this resource may know."""
        ref, uid = Ref.of(resource), resource["metadata"]["uid"]
        own = [obj for obj in self.children(ref) if obj["metadata"]["labels"].get(Label.OWNER_UID) == uid]
        pods = tuple(obj for obj in own if obj["kind"] == "Pod")
        return Observed(
            children=tuple(obj for obj in own if obj["kind"] != "Pod"),
            pods=pods,
            references={
                name: obj for name in self._references.get(ref, ()) if (obj := self._objects.get(name)) is not None
            },
            referrers=tuple(self._all(_sorted(self._referrers.get(ref, ())))),
            warnings={child: told for obj in own if (told := self._warnings.get(child := obj["metadata"]["uid"]))},
            progress={
                pod["metadata"]["name"]: found for pod in pods if (found := self._progress.get(Ref.of(pod))) is not None
            },
            namespace_terminating=namespace_terminating,
        )

    def children(self, owner: Ref) -> list[Object]:
        """All objects with this owner's labels, of whatever UID of the owner, in a stable order."""
        return self._all(_sorted(self._children.get(owner, ())))

    def owners(self) -> set[Ref]:
        """All resources that are there, or of which children are."""
        return {ref for ref in self._objects if ref.kind in self._controllers} | set(self._children)

    def mark_deleting(self, ref: Ref, uid: str, now: str) -> None:
        """The server accepted the deletion; the watch will show it in a moment, and nothing shall ask for it again."""
        obj = self._objects.get(ref)
        if obj is not None and obj["metadata"]["uid"] == uid and "deletionTimestamp" not in obj["metadata"]:
            marked = {**obj, "metadata": {**obj["metadata"], "deletionTimestamp": now}}
            self._objects.put(ref, self._objects.pack(marked, self._owner(marked)))

    def set_progress(self, pod: Ref, progress: Progress | Unreachable) -> None:
        """Keep the last answer of a working pod."""
        if (entry := self._objects.entry(pod)) is not None and self._progress.get(pod) != progress:
            self._progress[pod] = progress
            self._wake_owner(entry.owner)

    def progress(self, pod: Ref) -> Progress | Unreachable | None:
        """The last answer of a pod."""
        return self._progress.get(pod)

    def set_warnings(self, child: Ref, uid: str, warnings: tuple[ChildWarning, ...]) -> None:
        """Keep the Warning events about a child."""
        entry = self._objects.entry(child)
        if entry is not None and entry.uid == uid and self._warnings.get(uid, ()) != warnings:
            self._warnings[uid] = warnings
            self._wake_owner(entry.owner)

    def owner_of(self, obj: Object) -> Ref | None:
        """The resource that a child belongs to by its labels. Only the operator's namespace has children of others."""
        return self._owner(obj)

    def _pack(self, obj: Object) -> tuple[Object, Packed]:
        """What is kept of an object. One that is nested too deep to be packed is refused by its controller."""
        new = slim(obj)
        try:
            return new, self._objects.pack(new, self._owner(new))
        except orjson.JSONEncodeError:
            new = shallow(new)
            return new, self._objects.pack(new, self._owner(new))

    def _owner(self, obj: Object) -> Ref | None:
        meta = obj["metadata"]
        labels = meta.get("labels") or {}
        kind, name = labels.get(Label.OWNER_KIND), labels.get(Label.OWNER_NAME)
        if obj["kind"] in self._controllers or not kind or kind not in self._controllers or not name:
            return None
        namespace = meta.get("namespace", "")
        if namespace == self._namespace:
            namespace = labels.get(Label.OWNER_NAMESPACE, namespace)
        return Ref(kind, namespace, name)

    def _link(self, ref: Ref, obj: Object, owner: Ref | None) -> None:
        if owner is not None:
            self._children.setdefault(owner, set()).add(ref)
            _keep(self.working, ref, wanted=attention.works(obj))
            _keep(self.troubled, ref, wanted=attention.troubled(obj))
            if ref not in self.working:
                self._progress.pop(ref, None)
            if ref not in self.troubled:
                self._warnings.pop(obj["metadata"]["uid"], None)
        if ref.kind in self._controllers:
            new, old = self._read_references(obj), self._references.get(ref, frozenset())
            self._references[ref] = new
            for target in old - new:
                _remove(self._referrers, target, ref)
            for target in new - old:
                self._referrers.setdefault(target, set()).add(ref)
            self._wake_soon(old - new)

    def _unlink(self, ref: Ref, owner: Ref | None) -> None:
        self.working.discard(ref)
        self.troubled.discard(ref)
        if owner is not None:
            _remove(self._children, owner, ref)
            self._waker.add_soon(owner)
        for target in self._references.pop(ref, ()):
            _remove(self._referrers, target, ref)

    def _count(self, ref: Ref, new: Object | None) -> None:
        """Count the conditions of a resource in place of those that it had."""
        if ref.kind not in self._controllers:
            return
        for resource, change in ((self._objects.get(ref) or {}, -1), (new or {}, 1)):
            for condition in (resource.get("status") or {}).get("conditions") or ():
                state = (ref.kind, condition["type"], condition["status"])
                self.conditions[state] += change
                if not self.conditions[state]:
                    del self.conditions[state]

    def _read_references(self, resource: Object) -> frozenset[Ref]:
        try:
            return self._controllers[resource["kind"]].references(resource)
        except Exception:  # a bug there must not hide the object; the decision about it will fail loudly too
            log.exception("references of %s cannot be read", Ref.of(resource))
            return frozenset()

    def _notify(self, ref: Ref, owner: Ref | None) -> None:
        if ref.kind in self._controllers:
            self._waker.add(ref)
            self._wake(self._referrers.get(ref, ()))
        else:
            self._wake_owner(owner)

    def _wake_owner(self, owner: Ref | None) -> None:
        if owner is not None:
            self._waker.add_soon(owner)

    def _all(self, refs: Iterable[Ref]) -> list[Object]:
        return [obj for ref in refs if (obj := self._objects.get(ref)) is not None]

    def _wake(self, refs: Iterable[Ref]) -> None:
        for ref in self._resources(refs):
            self._waker.add(ref)

    def _wake_soon(self, refs: Iterable[Ref]) -> None:
        for ref in self._resources(refs):
            self._waker.add_soon(ref)

    def _resources(self, refs: Iterable[Ref]) -> list[Ref]:
        return _sorted(ref for ref in refs if ref.kind in self._controllers)


def _sorted(refs: Iterable[Ref]) -> list[Ref]:
    return sorted(refs, key=lambda ref: (ref.kind, ref.namespace, ref.name))


def _remove(index: dict[Ref, set[Ref]], key: Ref, ref: Ref) -> None:
    if (found := index.get(key)) is not None:
        found.discard(ref)
        if not found:
            del index[key]


def _keep(among: set[Ref], ref: Ref, *, wanted: bool) -> None:
    if wanted:
        among.add(ref)
    else:
        among.discard(ref)
