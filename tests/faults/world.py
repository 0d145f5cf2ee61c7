"""An API server in memory: versions, watches, server-side apply, preconditions, finalizers and garbage collection."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from deepseek_operator.api.names import FIELD_MANAGER, PLURALS
from deepseek_operator.controllers.decision import Object, Ref
from deepseek_operator.engine import errors

from tests.faults import merge
from tests.faults.merge import copied
from tests.faults.virtual_time import now

Notify = Callable[[str, Object], None]
"""Called with ADDED, MODIFIED or DELETED, and the object."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
_GC_DELAY = 0.1


class World:
    """The cluster. Users and simulated controllers call it directly, operators through `connection.WorldApi`."""

    def __init__(self) -> None:
        self.objects: dict[Ref, Object] = {}
        self.version = 1
        self.created: Counter[Ref] = Counter()
        """How often an operator has created each object."""
        self.names: dict[str, str] = {}
        """Every UID there ever was, with the object it was given to."""
        self.listeners: list[Notify] = []
        self.admission: Callable[[Ref], None] = lambda _: None
        """Raises where the creation of an object shall be refused."""
        self._applied: dict[tuple[Ref, str], Object] = {}
        self._serial = 0

    def get(self, ref: Ref) -> Object:
        if ref not in self.objects:
            raise errors.NotFoundError(404, "NotFound", f"{ref} not found")
        return self.objects[ref]

    def create(self, obj: Object, *, manager: str = "user") -> Object:
        ref = Ref.of(obj)
        self.admission(ref)
        if ref in self.objects:
            raise errors.ConflictError(409, "AlreadyExists", f"{ref} already exists")
        self._serial += 1
        uid = f"uid-{self._serial:08d}-x"
        self.names[uid] = str(ref)
        new = copied(obj)
        new["metadata"] |= {"uid": uid, "creationTimestamp": _stamp(), "generation": 1, "resourceVersion": "0"}
        if ref.kind in PLURALS:
            new["status"] = {"observedGeneration": -1}
        if manager == FIELD_MANAGER and ref.kind != "Event":
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

    def snapshot(self) -> dict[str, Any]:
        """Everything but pods and events, without what differs between two runs: UIDs, versions and times."""
        state = {}
        for ref, obj in sorted(self.objects.items(), key=lambda item: str(item[0])):
            if ref.kind in {"Event", "Pod"}:
                continue
            dropped = {"resourceVersion", "generation", "creationTimestamp"}
            meta = {key: value for key, value in obj["metadata"].items() if key not in dropped}
            state[self._plain(str(ref))] = json.loads(self._plain(json.dumps({**obj, "metadata": meta})))
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
        self.version += 1
        meta = {**new["metadata"], "resourceVersion": str(self.version)}
        if old is not None and new.get("spec") != old.get("spec"):
            meta["generation"] = old["metadata"]["generation"] + 1
        if "deletionTimestamp" in meta and not meta.get("finalizers"):
            self._remove(ref)
            return {**new, "metadata": meta}
        self.objects[ref] = stored = {**copied(new), "metadata": copied(meta)}
        self._tell(event, stored)
        return stored

    def _remove(self, ref: Ref) -> None:
        old = self.objects.pop(ref)
        for key in [key for key in self._applied if key[0] == ref]:
            del self._applied[key]
        self.version += 1
        self._tell("DELETED", {**old, "metadata": {**old["metadata"], "resourceVersion": str(self.version)}})
        asyncio.get_running_loop().call_later(_GC_DELAY, self._collect, old["metadata"]["uid"])

    def _collect(self, uid: str) -> None:
        """Remove what the object with this UID owned."""
        for ref, obj in list(self.objects.items()):
            if any(owner["uid"] == uid for owner in obj["metadata"].get("ownerReferences", ())):
                self.delete(ref)

    def _tell(self, event: str, obj: Object) -> None:
        for listener in list(self.listeners):
            listener(event, copied(obj))


def _stamp() -> str:
    return now().strftime("%Y-%m-%dT%H:%M:%SZ")
