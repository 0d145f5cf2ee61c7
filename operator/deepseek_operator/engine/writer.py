"""The only place that changes the cluster. Every change is counted, and its answer goes into the store at once."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from deepseek_operator.api.names import API_VERSION, Annotation
from deepseek_operator.controllers.decision import Object, Ref, Remove
from deepseek_operator.engine import errors
from deepseek_operator.engine.api import Api
from deepseek_operator.engine.difference import Path, at, differences, merge_patch
from deepseek_operator.engine.metrics import Metrics
from deepseek_operator.engine.planner import (
    Adjust,
    Apply,
    Blocked,
    ChildAction,
    Create,
    belongs_to,
    finalizers_patch,
    fingerprint,
)
from deepseek_operator.engine.store import Store

log = logging.getLogger(__name__)

NEVER = "1"
"""A resource version that no object has: an apply with it makes an object, and conflicts with one that exists."""


@dataclass(frozen=True, slots=True)
class Done:
    """What was done to a child."""

    ref: Ref
    verb: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """What could not be done to a child."""

    ref: Ref
    error: errors.ApiError | errors.OwnedByOtherError


class Writer:
    """Carries out plans. No method retries for long: the work queue does."""

    def __init__(self, api: Api, store: Store, metrics: Metrics, now: Callable[[], datetime]) -> None:
        self._api = api
        self._store = store
        self._metrics = metrics
        self._now = now
        self.settled: dict[Ref, tuple[str, str]] = {}

    async def children(self, actions: tuple[ChildAction, ...], owner_uid: str) -> list[Done | Failed]:
        """Carry out the actions side by side: one that fails holds up no other."""
        return list(await asyncio.gather(*(self._child(action, owner_uid) for action in actions)))

    async def delete(self, remove: Remove) -> Done | None:
        """Delete one object; None where it was gone already.

        A conflict is raised: the name may belong to another object by now, which the watch will tell, or the server
        may want to be asked again.
        """
        try:
            await self._api.delete(remove.ref, remove.uid)
        except errors.NotFoundError:
            self._store.drop(remove.ref, remove.uid)
            return None
        self._store.mark_deleting(remove.ref, remove.uid, self._now().isoformat())
        return self._done(remove.ref, "delete", remove.reason)

    async def status(self, resource: Object, status: Object) -> None:
        """Write the status of a resource; fails with a conflict if it is not as it was seen last.

        So a process that was held up for so long that another leads now changes nothing.
        """
        seen = (self._store.get(Ref.of(resource)) or resource)["metadata"]
        meta = {"name": seen["name"], "namespace": seen["namespace"], "uid": resource["metadata"]["uid"]}
        obj = {
            "apiVersion": API_VERSION,
            "kind": resource["kind"],
            "metadata": {**meta, "resourceVersion": seen["resourceVersion"]},
            "status": status,
        }
        self._store.put(await self._api.apply(obj, force=True, subresource="status"))
        self._done(Ref.of(resource), "apply_status")

    async def finalizers(self, resource: Object, finalizers: list[str]) -> None:
        """Set the finalizers of a resource, if it has not changed meanwhile."""
        ref = Ref.of(resource)
        self._store.put(await self._api.patch(ref, finalizers_patch(resource, finalizers)))
        self._done(ref, "patch_finalizers")

    async def _child(self, action: ChildAction, owner_uid: str) -> Done | Failed:
        try:
            match action:
                case Create():
                    return await self._create(action, owner_uid)
                case Apply(uid=None):
                    return await self._apply_new(action, owner_uid)
                case Apply():
                    return await self._apply(action)
                case Adjust():
                    self._store.put(await self._api.patch(action.ref, action.patch))
                    return self._done(action.ref, "patch")
                case Blocked():
                    return Failed(action.ref, errors.OwnedByOtherError(str(action.ref)))
        except (errors.ApiError, errors.OwnedByOtherError) as error:
            return Failed(action.ref, error)

    async def _create(self, action: Create, owner_uid: str) -> Done:
        try:
            self._store.put(await self._api.create(action.manifest))
        except errors.ConflictError:
            await self._adopt(action.ref, owner_uid)
            return Done(action.ref, "found")
        return self._done(action.ref, "create")

    async def _apply_new(self, action: Apply, owner_uid: str) -> Done:
        """Apply what has not been seen, but not to an object of somebody else: one that exists is looked at first."""
        meta = {**action.manifest["metadata"], "resourceVersion": NEVER}
        try:
            answer = await self._api.apply({**action.manifest, "metadata": meta}, force=False)
        except errors.ConflictError:
            await self._adopt(action.ref, owner_uid)
            return await self._apply(action)
        self._store.put(answer)
        return self._done(action.ref, "create")

    async def _adopt(self, ref: Ref, owner_uid: str) -> None:
        """Take in an object that the watch has not shown, if it is this owner's."""
        live = await self._api.get(ref)
        if not belongs_to(live, owner_uid):
            raise errors.OwnedByOtherError(str(ref))
        self._store.put(live)

    async def _apply(self, action: Apply) -> Done:
        ref, manifest = action.ref, action.manifest
        if action.uid is not None:
            manifest = {**manifest, "metadata": {**manifest["metadata"], "uid": action.uid}}
        try:
            answer = await self._api.apply(manifest, force=True)
        except errors.InvalidError:
            if not (lists := self._drifted_lists(action)):
                raise
            await self._api.patch(ref, merge_patch(action.manifest, lists))
            answer = await self._api.apply(manifest, force=True)
        if rest := list(differences(action.manifest, answer)):
            answer = await self._replace(action, rest)
        self._store.put(answer)
        detail = ".".join(action.drift) if action.drift else ""
        return self._done(ref, "repair" if action.drift else "apply", detail)

    def _drifted_lists(self, action: Apply) -> list[Path]:
        """The lists that others changed: an edited key makes a second element beside the applied one, maybe invalid."""
        seen = self._store.get(action.ref)
        drift = differences(action.manifest, seen) if seen else ()
        return [path for path in drift if isinstance(at(action.manifest, path), list)]

    async def _replace(self, action: Apply, paths: list[tuple[str, ...]]) -> Object:
        """Set what an apply leaves: elements that others added to a list stay theirs until the list is replaced.

        What even that does not change is the server's own way to write the same thing, and is remembered as settled.
        """
        answer = await self._api.patch(action.ref, merge_patch(action.manifest, paths))
        if (rest := next(differences(action.manifest, answer), None)) is not None:
            log.info("the server keeps its own form of %s at %s", action.ref, ".".join(rest))
            applied = action.manifest["metadata"]["annotations"][Annotation.APPLIED_HASH]
            self.settled[action.ref] = (applied, fingerprint(answer))
        return answer

    def _done(self, ref: Ref, verb: str, detail: str = "") -> Done:
        self._metrics.writes.labels(verb, ref.kind).inc()
        log.info("%s %s%s", verb, ref, f": {detail}" if detail else "")
        return Done(ref, verb, detail)
