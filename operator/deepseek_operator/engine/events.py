"""Events of events.k8s.io/v1 about resources: repeated ones are counted in a series, and nobody can cause a flood."""

import asyncio
import logging
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deepseek_operator.api.names import FIELD_MANAGER, GROUP
from deepseek_operator.controllers.decision import Event, Object, Ref
from deepseek_operator.engine import errors
from deepseek_operator.engine.api import Api
from deepseek_operator.engine.kinds import KINDS
from deepseek_operator.engine.metrics import Metrics
from deepseek_operator.engine.pacing import Calm

log = logging.getLogger(__name__)

BURST = 25
REFILL = 1 / 12
"""Tokens each second and object: a burst of 25, then one event every 12 s."""
SERIES = 600.0
"""Seconds within which an equal event is a repetition."""
_QUEUED = 10_000
"""As many resources as may come at once: an event that waits takes less than 2 KB."""
_KNOWN = 4096
_NOTE = 1024
"""Bytes that the API server takes."""


@dataclass(slots=True)
class _Series:
    ref: Ref
    count: int
    last: float


@dataclass(frozen=True, slots=True)
class _Post:
    key: tuple[str, str, str]
    regarding: Object
    event: Event
    time: str
    """When it happened, RFC 3339 with microseconds."""
    since: float


class Recorder:
    """`record` never waits and never fails; `run` sends. What cannot be sent is counted, logged and forgotten."""

    def __init__(self, api: Api, metrics: Metrics, now: Callable[[], datetime], calm: Calm) -> None:
        self._api = api
        self._metrics = metrics
        self._now = now
        self._calm = calm
        self._queue: asyncio.Queue[_Post] = asyncio.Queue(_QUEUED)
        self._buckets: dict[str, tuple[float, float]] = {}
        self._series: dict[tuple[str, str, str], _Series] = {}
        self._instance = socket.gethostname()

    def record(self, resource: Object, event: Event) -> None:
        """Tell the users of a resource something, soon."""
        key = (resource["metadata"]["uid"], event.reason, event.note)
        if self._queue.full() or not self._allowed(resource["metadata"]["uid"]):
            self._metrics.events_dropped.inc()
            return
        time = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self._queue.put_nowait(_Post(key, _reference(resource), event, time, asyncio.get_running_loop().time()))

    async def run(self) -> None:
        """Send events until cancelled."""
        while True:
            post = await self._queue.get()
            await self._calm.come(post.since)
            try:
                await self._send(post)
            except errors.ApiError as error:
                self._metrics.events_dropped.inc()
                regarding = f"{post.regarding['kind']}/{post.regarding['namespace']}/{post.regarding['name']}"
                log.warning("event %s of %s is lost: %s", post.event.reason, regarding, error)
            finally:
                self._queue.task_done()

    async def flush(self) -> None:
        """Wait until everything recorded so far is sent or lost."""
        await self._queue.join()

    def _allowed(self, uid: str) -> bool:
        now = asyncio.get_running_loop().time()
        tokens, at = self._buckets.pop(uid, (float(BURST), now))
        tokens = min(float(BURST), tokens + (now - at) * REFILL)
        self._buckets[uid] = (max(0.0, tokens - 1), now)
        _limit(self._buckets)
        return tokens >= 1

    async def _send(self, post: _Post) -> None:
        now = asyncio.get_running_loop().time()
        series = self._series.pop(post.key, None)
        if series is not None and now - series.last < SERIES:
            series.count += 1
            series.last = now
            self._series[post.key] = series
            try:
                patch = {"series": {"count": series.count, "lastObservedTime": post.time}}
                await self._api.patch(series.ref, patch)
            except errors.NotFoundError:  # events live for an hour or so
                del self._series[post.key]
                await self._create(post, now)
            return
        await self._create(post, now)

    async def _create(self, post: _Post, now: float) -> None:
        obj = self._event(post)
        await self._api.create(obj)
        self._series[post.key] = _Series(Ref.of(obj), 1, now)
        _limit(self._series)

    def _event(self, post: _Post) -> Object:
        regarding, event = post.regarding, post.event
        name = f"{regarding['name']}.{uuid.uuid4().hex[:16]}"
        obj: Object = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": regarding["namespace"]},
            "eventTime": post.time,
            "reportingController": f"{GROUP}/{FIELD_MANAGER}",
            "reportingInstance": self._instance[:128],
            "type": event.type,
            "reason": event.reason,
            "action": event.action,
            "note": event.note.encode()[:_NOTE].decode(errors="ignore"),
            "regarding": regarding,
        }
        if event.related is not None:
            related = event.related
            obj["related"] = {
                "apiVersion": KINDS[related.kind].api_version,
                "kind": related.kind,
                "namespace": related.namespace,
                "name": related.name,
            }
        return obj


def _reference(resource: Object) -> Object:
    """An ObjectReference of core/v1."""
    meta = resource["metadata"]
    return {
        "apiVersion": resource["apiVersion"],
        "kind": resource["kind"],
        "namespace": meta["namespace"],
        "name": meta["name"],
        "uid": meta["uid"],
    }


def _limit(entries: dict[Any, Any]) -> None:
    """Forget the oldest."""
    while len(entries) > _KNOWN:
        del entries[next(iter(entries))]
