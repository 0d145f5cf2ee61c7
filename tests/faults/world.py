"""An API server in memory: versions, watches, server-side apply, preconditions, finalizers and garbage collection."""

import asyncio
import contextvars
import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from deepseek_operator.api.names import FIELD_MANAGER, PLURALS
from deepseek_operator.controllers.decision import Object, Ref
from deepseek_operator.engine import errors
from deepseek_runtime.wire.base import digest

from tests.faults import merge, secrets
from tests.faults.merge import copied
from tests.faults.virtual_time import now

Notify = Callable[[str, Object], None]
"""Called with ADDED, MODIFIED or DELETED, and the object."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
_GC_DELAY = 0.1
_FOREGROUND = "foregroundDeletion"
BESIDE = frozenset({"Event", "Lease"})
"""Kinds that are no part of what the operator brings about."""


class World:
    """The cluster. Users and simulated controllers call it directly, operators through `connection.WorldApi`."""

    def __init__(self) -> None:
        self.objects: dict[Ref, Object] = {}
        self.version = 1
        self.changes = 0
        """Of everything but events and leases."""
        self.leaks: list[str] = []
        """Where a Secret's value was seen outside of Secrets."""
        self.created: Counter[Ref] = Counter()
        """How often an operator has created each object."""
        self.names: dict[str, str] = {}
        """Every UID there ever was, with the object it was given to."""
        self.listeners: list[Notify] = []
        self.admission: Callable[[Ref], None] = lambda _: None
        """Raises where the creation of an object shall be refused."""
        self._applied: dict[tuple[Ref, str], Object] = {}
        self._made: Counter[Ref] = Counter()
        self._uids: set[str] = set()
        self._context = contextvars.copy_context()

    def get(self, ref: Ref) -> Object:
        if ref not in self.objects:
            raise errors.NotFoundError(404, "NotFound", f"{ref} not found")
        return self.objects[ref]

    def create(self, obj: Object, *, manager: str = "user") -> Object:
        ref = Ref.of(obj)
        self.admission(ref)
        if ref in self.objects:
            raise errors.ConflictError(409, "AlreadyExists", f"{ref} already exists")
        self._made[ref] += 1
        # the same in every run, whatever was made before it: keys are derived from it
        uid = f"uid-{digest(str(ref))[:12]}-{self._made[ref]}-x"
        self.names[uid] = str(ref)
        self._uids.add(uid)
        new = copied(obj)
        new["metadata"] |= {"uid": uid, "creationTimestamp": _stamp(), "generation": 1, "resourceVersion": "0"}
        if ref.kind in PLURALS:
            new["status"] = {"observedGeneration": -1}
        if manager == FIELD_MANAGER and ref.kind not in BESIDE:
            self.created[ref] += 1
        return self._store(ref, new, "ADDED")

    def apply(self, obj: Object, *, force: bool, subresource: str = "", manager: str = FIELD_MANAGER) -> Object:
        ref, wanted = Ref.of(obj), copied(obj)
        uid, version = (wanted["metadata"].pop(field, None) for field in ("uid", "resourceVersion"))
        live = self.objects.get(ref)
        if live is None and (subresource or uid):
            raise errors.NotFoundError(404, "NotFound", f"{ref} not found")
        if live is None:
            created = self.create(wanted, manager=manager)
            self._applied[ref, subresource] = wanted
            return created
        if uid not in {None, live["metadata"]["uid"]}:
            raise errors.ConflictError(409, "Conflict", f"{ref}: the UID is {live['metadata']['uid']}")
        if version not in {None, live["metadata"]["resourceVersion"]}:
            raise errors.ConflictError(409, "Conflict", f"{ref}: the version is {live['metadata']['resourceVersion']}")
        if subresource:
            wanted = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], subresource: wanted.get(subresource)}
        before = self._applied.get((ref, subresource), {})
        if not force and merge.conflicts(live, before, wanted):
            raise errors.ConflictError(409, "Conflict", f"{ref}: conflict with another manager")
        self._applied[ref, subresource] = wanted
        return self._store(ref, merge.apply(live, before, wanted), "MODIFIED")

    def patch(self, ref: Ref, patch: dict[str, Any]) -> Object:
        live, meta = self.get(ref), patch.get("metadata", {})
        for field in ("uid", "resourceVersion"):
            if meta.get(field) not in {None, live["metadata"][field]}:
                raise errors.ConflictError(409, "Conflict", f"{ref}: {field} is {live['metadata'][field]}")
        new = merge.merge_patch(live, patch)
        if ref.kind in PLURALS:
            new["status"] = live["status"]
        return self._store(ref, new, "MODIFIED")

    def set_status(self, ref: Ref, status: Object) -> Object:
        """As controllers of other kinds do it."""
        return self._store(ref, {**self.get(ref), "status": status}, "MODIFIED")

    def delete(self, ref: Ref, uid: str | None = None) -> None:
        live = self.get(ref)
        if uid not in {None, live["metadata"]["uid"]}:
            raise errors.ConflictError(409, "Conflict", f"{ref}: the UID is {live['metadata']['uid']}")
        if not live["metadata"].get("finalizers"):
            self._remove(ref)
        elif "deletionTimestamp" not in live["metadata"]:
            self._store(ref, {**live, "metadata": {**live["metadata"], "deletionTimestamp": _stamp()}}, "MODIFIED")

    def delete_in_foreground(self, ref: Ref) -> None:
        """The object goes after all that it owns."""
        live = self.get(ref)
        if "deletionTimestamp" not in live["metadata"]:
            finalizers = [*live["metadata"].get("finalizers", ()), _FOREGROUND]
            self._store(ref, {**live, "metadata": {**live["metadata"], "finalizers": finalizers}}, "MODIFIED")
            self.delete(ref)
        self._after_gc(self._collect_foreground, ref, live["metadata"]["uid"])

    def snapshot(self) -> dict[str, Any]:
        """Everything but pods and events, without what differs between two runs: UIDs, versions and times.

        Of the cost of Jobs only whose it is: pods take longer where something goes wrong.
        """
        state = {}
        for ref, obj in sorted(self.objects.items(), key=lambda item: str(item[0])):
            if ref.kind in BESIDE or ref.kind == "Pod":
                continue
            dropped = {"resourceVersion", "generation", "creationTimestamp"}
            meta = {key: value for key, value in obj["metadata"].items() if key not in dropped}
            plain = {**obj, "metadata": meta}
            if ref.kind not in PLURALS and "status" in obj:
                plain["status"] = {key: value for key, value in obj["status"].items() if key != "observedGeneration"}
            if cost := plain.get("status", {}).get("cost"):
                plain["status"] = {**plain["status"], "cost": sorted(job["job"] for job in cost["jobs"])}
            state[self._plain(str(ref))] = json.loads(self._plain(json.dumps(plain)))
        return state

    def _plain(self, text: str) -> str:
        for uid, name in self.names.items():
            text = text.replace(uid, f"<{name}>")
        return _TIME.sub("T", text)

    def _store(self, ref: Ref, new: Object, event: str) -> Object:
        old = self.objects.get(ref)
        if ref.kind == "NetworkPolicy":  # its lists are left out of JSON where they are empty
            new = {**new, "spec": {key: value for key, value in new["spec"].items() if value != []}}
        names = [port["name"] for port in new.get("spec", {}).get("ports", ()) if "name" in port]
        if len(names) != len(set(names)):
            raise errors.InvalidError(422, "Invalid", f"{ref}: spec.ports.name: Duplicate value")
        if old is not None and new == old:
            return old
        self._count(ref)
        meta = {**new["metadata"], "resourceVersion": str(self.version)}
        if old is not None and new.get("spec") != old.get("spec"):
            meta["generation"] = old["metadata"]["generation"] + 1
        if "deletionTimestamp" in meta and not meta.get("finalizers"):
            self._remove(ref)
            return {**new, "metadata": meta}
        text = json.dumps({**new, "metadata": meta})
        if ref.kind != "Secret":
            self.leaks += [f"{ref}: {text}" for mark in secrets.MARKS if mark in text]
        self.objects[ref] = stored = json.loads(text)
        self._tell(event, stored)
        for owner in meta.get("ownerReferences", ()) if event == "ADDED" else ():
            if owner["uid"] not in self._uids:
                self._after_gc(self._collect, owner["uid"])
        return stored

    def _remove(self, ref: Ref) -> None:
        old = self.objects.pop(ref)
        self._uids.discard(old["metadata"]["uid"])
        for key in [key for key in self._applied if key[0] == ref]:
            del self._applied[key]
        self._count(ref)
        self._tell("DELETED", {**old, "metadata": {**old["metadata"], "resourceVersion": str(self.version)}})
        self._after_gc(self._collect, old["metadata"]["uid"])

    def _count(self, ref: Ref) -> None:
        self.version += 1
        self.changes += ref.kind not in BESIDE

    def _after_gc(self, do: Callable[..., None], *args: Any) -> None:
        asyncio.get_running_loop().call_later(_GC_DELAY, do, *args, context=self._context)

    def _collect(self, uid: str) -> None:
        """Remove what the object with this UID owned."""
        for ref, obj in list(self.objects.items()):
            if _owned(obj, uid):
                self.delete(ref)

    def _collect_foreground(self, ref: Ref, uid: str) -> None:
        """Remove what the object with this UID owns, then let it go."""
        live = self.objects.get(ref)
        if live is None or live["metadata"]["uid"] != uid:
            return
        owned = [other for other, obj in self.objects.items() if _owned(obj, uid)]
        for other in owned:
            if "deletionTimestamp" not in self.objects[other]["metadata"]:
                self.delete_in_foreground(other)
        if owned:
            self._after_gc(self._collect_foreground, ref, uid)
            return
        finalizers = [name for name in live["metadata"]["finalizers"] if name != _FOREGROUND]
        self._store(ref, {**live, "metadata": {**live["metadata"], "finalizers": finalizers}}, "MODIFIED")

    def _tell(self, event: str, obj: Object) -> None:
        for listener in list(self.listeners):
            listener(event, copied(obj))


def _owned(obj: Object, uid: str) -> bool:
    return any(owner["uid"] == uid for owner in obj["metadata"].get("ownerReferences", ()))


def _stamp() -> str:
    return now().strftime("%Y-%m-%dT%H:%M:%SZ")
