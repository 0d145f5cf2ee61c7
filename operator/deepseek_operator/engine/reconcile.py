"""The one loop of all controllers: snapshot, decide, plan, carry out, status, events."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from deepseek_operator.api.names import GROUP, Reason
from deepseek_operator.controllers.decision import (
    Controller,
    Decision,
    Event,
    Object,
    Observed,
    Ref,
    Settings,
)
from deepseek_operator.engine import errors, planner, refusals
from deepseek_operator.engine.api import Api
from deepseek_operator.engine.events import Recorder
from deepseek_operator.engine.metrics import Metrics
from deepseek_operator.engine.pacing import PATIENCE, QUIET, Pacer
from deepseek_operator.engine.queue import WorkQueue
from deepseek_operator.engine.store import Store
from deepseek_operator.engine.writer import Done, Failed, Writer

log = logging.getLogger(__name__)

TERMINATING_DELAY = 5.0
"""Seconds between looks at a resource whose namespace lets nothing be created any more."""
_TOLD = {"create": Reason.CREATED, "repair": Reason.REPAIRED, "delete": Reason.REMOVED}


class DecisionFailedError(Exception):
    """A bug in a decision; the cause has the traceback."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a reconciliation ended, where no exception says so."""

    wake_after: float | None = None
    failures: tuple[Failed, ...] = ()


@dataclass(slots=True)
class _Untold:
    """What was done for a resource and stands in no status and no event yet."""

    first: float
    since: float
    """When the status began to wait: anew with new children, but not for ever, for it shall tell of them too."""
    done: list[Done] = field(default_factory=list)
    complete: bool = False

    def add(self, done: list[Done], now: float, *, last: bool) -> None:
        """Children were made or changed; the `last` of them count however late they come, but once."""
        self.done += done
        if now < self.first + PATIENCE + QUIET or (last and not self.complete):
            self.since = now
        self.complete |= last


class Reconciler:
    """`reconcile(key)` brings one resource where it should be; `work()` does it for the keys of the queue."""

    def __init__(
        self,
        api: Api,
        store: Store,
        queue: WorkQueue,
        controllers: Mapping[str, Controller],
        settings: Settings,
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._api = api
        self._store = store
        self._queue = queue
        self._controllers = controllers
        self._settings = settings
        self._metrics = metrics
        self._now = now
        self._writer = Writer(api, store, metrics, now)
        self._pacer = Pacer(asyncio.get_running_loop().time())
        self._untold: dict[Ref, _Untold] = {}
        self.recorder = Recorder(api, metrics, now, queue.calm)

    async def work(self) -> None:
        """One worker: until the queue is stopped."""
        while (key := await self._queue.get()) is not None:
            started = time.perf_counter()
            with self._metrics.workers.labels(key.kind).track_inprogress():
                outcome = await self._attempt(key)
            self._metrics.duration.labels(key.kind).observe(time.perf_counter() - started)
            self._metrics.reconciles.labels(key.kind, outcome).inc()
            if outcome == "error":
                self._metrics.errors.labels(key.kind).inc()
            self._queue.done(key)
            await asyncio.sleep(0)  # where nothing has to be written nothing is awaited, and the lease is others' work

    async def reconcile(self, key: Ref) -> Result:
        """Snapshot, decide, plan, carry out."""
        controller = self._controllers[key.kind]
        resource = self._store.get(key)
        await self._collect_orphans(controller, key, resource)
        if resource is None:
            self._untold.pop(key, None)
            return Result()
        observed = self._store.observe(resource, namespace_terminating=await self._namespace_terminating(resource))
        decision = self._decide(controller, resource, observed)
        plan = planner.plan(resource, decision, self._store.get, self._writer.settled)
        if (
            key in self._store.bereaved
            and (plan.children or plan.following)
            and not await self._still_there(key, resource)
        ):
            return Result()
        return await self._carry_out(resource, decision, plan)

    async def _attempt(self, key: Ref) -> str:
        """Reconcile once and see to it that the key comes again; the outcome in controller-runtime's words."""
        try:
            result = await self.reconcile(key)
        except (errors.NotFoundError, errors.ConflictError) as error:
            log.debug("%s has changed meanwhile: %s", key, error)
            await self._look_again(key)
            self._queue.add_rate_limited(key)
            return "requeue"
        except errors.ApiError as error:
            log.warning("%s will be tried again: %s", key, error)
            self._queue.add_rate_limited(key, error.retry_after or 0.0)
            return "error"
        except DecisionFailedError:
            log.exception("no decision about %s", key)
            self._metrics.panics.labels(key.kind).inc()
            self._queue.add_rate_limited(key)
            return "error"
        except Exception:  # a bug here must cost one resource its turn, not all resources their operator
            log.exception("reconciling %s failed", key)
            self._metrics.panics.labels(key.kind).inc()
            self._queue.add_rate_limited(key)
            return "error"
        if result.failures:
            self._come_again(key, result.failures)
            return "error"
        self._queue.forget(key)
        if result.wake_after is not None:
            self._queue.add_after(key, result.wake_after)
            return "requeue_after"
        return "success"

    def _come_again(self, key: Ref, failures: tuple[Failed, ...]) -> None:
        delay = 0.0
        for failure in failures:
            log.warning("%s: %s: %s", key, failure.ref, failure.error)
            if isinstance(failure.error, errors.ApiError):
                terminating = failure.error.namespace_terminating
                delay = max(delay, TERMINATING_DELAY if terminating else failure.error.retry_after or 0.0)
        self._queue.add_rate_limited(key, delay)

    def _decide(self, controller: Controller, resource: Object, observed: Observed) -> Decision:
        try:
            return controller.decide(resource, observed, self._now(), self._settings)
        except Exception as error:
            raise DecisionFailedError(str(Ref.of(resource))) from error

    async def _carry_out(self, resource: Object, decision: Decision, plan: planner.Plan) -> Result:
        key, uid = Ref.of(resource), resource["metadata"]["uid"]
        loop = asyncio.get_running_loop()
        untold = self._untold.setdefault(key, _Untold(loop.time(), loop.time()))
        if plan.add_finalizers is not None:
            await self._writer.finalizers(resource, plan.add_finalizers["metadata"]["finalizers"])
        untold.done += [deleted for remove in plan.deletes if (deleted := await self._writer.delete(remove))]
        outcomes = await self._children(key, uid, plan, untold)
        failures = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
        refused = refusals.lasting(failures)
        status = await self._status(resource, decision, refused, untold.since)
        if plan.keep_finalizers is not None:
            await self._writer.finalizers(self._store.get(key) or resource, list(plan.keep_finalizers))
        if status != "waits":
            del self._untold[key]
        if status == "written" or (status == "same" and untold.done):
            self._tell(resource, decision.events, untold.done, refused)
        return Result(decision.wake_after, tuple(failures))

    async def _children(self, key: Ref, uid: str, plan: planner.Plan, untold: _Untold) -> list[Done | Failed]:
        """Make and change them; those that nobody needs before pods run give way to what runs, of all resources."""
        calm, loop = self._queue.calm, asyncio.get_running_loop()
        hurried = calm.wait(untold.first, loop.time()) > 0
        outcomes: list[Done | Failed] = []
        for actions in (plan.children, () if hurried and plan.children else plan.following):
            made = await self._writer.children(actions, uid)
            if done := [outcome for outcome in made if isinstance(outcome, Done)]:
                calm.made(loop.time())
                untold.add(done, loop.time(), last=actions is plan.following)
            outcomes += made
        if hurried and plan.children and plan.following:
            self._queue.add_soon(key)
        return outcomes

    async def _status(
        self, resource: Object, decision: Decision, refused: Failed | None, since: float
    ) -> Literal["same", "waits", "written"]:
        status = refusals.told(resource, decision.status, refused, self._now()) if refused else decision.status
        key, uid, now = Ref.of(resource), resource["metadata"]["uid"], asyncio.get_running_loop().time()
        match planner.status_change(resource, status, decision.volatile):
            case "same":
                return "same"
            case "volatile":
                if (delay := self._pacer.delay(uid, now)) > 0:
                    self._queue.add_after(key, delay)
                    return "same"
            case "changed":
                if self._queue.calm.wait(since, now) > 0:
                    self._queue.add_soon(key)
                    return "waits"
        self._pacer.written(uid, now)
        await self._writer.status(resource, status)
        return "written"

    def _tell(self, resource: Object, events: tuple[Event, ...], done: list[Done], refused: Failed | None) -> None:
        for event in events:
            self.recorder.record(resource, event)
        for verb, reason in _TOLD.items():
            items = [item for item in done if item.verb == verb]
            if items:
                note = ", ".join(
                    f"{item.ref.kind}/{item.ref.name}{item.detail and f': {item.detail}'}" for item in items
                )
                self.recorder.record(
                    resource, Event("Normal", reason, f"{verb} {note}", verb.capitalize(), related=items[0].ref)
                )
        if refused:
            event = Event("Warning", refusals.reason(refused), refusals.message(refused), "Create", refused.ref)
            self.recorder.record(resource, event)

    async def _collect_orphans(self, controller: Controller, key: Ref, resource: Object | None) -> None:
        """Remove what garbage collection cannot reach, after the server itself has said that its owner is gone."""
        uid = resource["metadata"]["uid"] if resource else None
        left = [obj for obj in self._store.children(key) if planner.uid_of_owner(obj) != uid]
        if not left:
            return
        observed = Observed(
            children=tuple(obj for obj in left if obj["kind"] != "Pod"),
            pods=tuple(obj for obj in left if obj["kind"] == "Pod"),
        )
        removals = controller.orphaned(key, observed)
        live = await self._live_uid(key) if removals else None
        for remove in removals:
            seen = self._store.get(remove.ref)
            if seen is not None and live != planner.uid_of_owner(seen) and planner.deletable(remove, seen):
                await self._writer.delete(remove)

    async def _still_there(self, key: Ref, resource: Object) -> bool:
        """Ask before anything is made again that is gone: its resource may have gone first, and the watch lost it."""
        await self._look_again(key)
        self._store.bereaved.discard(key)
        seen = self._store.get(key)
        return seen is not None and seen["metadata"]["uid"] == resource["metadata"]["uid"]

    async def _look_again(self, key: Ref) -> None:
        """Take in what the server knows of a resource: its watch may have lost that it changed, or that it is gone.

        Children made for one that is gone would be collected and made again until the next sweep.
        """
        known = self._store.get(key)
        try:
            self._store.put(await self._api.get(key))
        except errors.NotFoundError:
            if known is not None:
                self._store.drop(key, known["metadata"]["uid"])
        except errors.ApiError as error:
            log.debug("%s cannot be read: %s", key, error)

    async def _live_uid(self, key: Ref) -> str | None:
        try:
            uid: str = (await self._api.get(key))["metadata"]["uid"]
        except errors.NotFoundError:
            return None
        return uid

    async def _namespace_terminating(self, resource: Object) -> bool:
        """Asked only where it matters: for a resource on its way out that a finalizer of the operator holds."""
        meta = resource["metadata"]
        held = any(name.startswith(f"{GROUP}/") for name in meta.get("finalizers") or ())
        if "deletionTimestamp" not in meta or not held:
            return False
        try:
            namespace = await self._api.get(Ref("Namespace", "", meta["namespace"]))
        except errors.NotFoundError:
            return True
        return "deletionTimestamp" in namespace["metadata"]
