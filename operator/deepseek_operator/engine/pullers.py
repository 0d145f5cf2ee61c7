"""What is asked for beyond the watches: progress of working pods, Warning events of children in trouble.

Nothing is asked when nothing works and nothing is in trouble.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from heapq import nsmallest

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from deepseek_runtime.wire import credential
from deepseek_runtime.wire.paths import PROGRESS_PATH, STATUS_PORT
from deepseek_runtime.wire.progress import MAX_BYTES, Progress
from deepseek_runtime.wire.proof import prove
from pydantic import ValidationError

from deepseek_operator.api.names import Label
from deepseek_operator.controllers.decision import Object, Ref, Unreachable
from deepseek_operator.controllers.decision import Warning as ChildWarning
from deepseek_operator.engine import errors
from deepseek_operator.engine.api import Api
from deepseek_operator.engine.pacing import Calm
from deepseek_operator.engine.store import Store

log = logging.getLogger(__name__)

PROGRESS_PERIOD = 5.0
PROGRESS_TIMEOUT = 1.0
PROGRESS_PARALLEL = 32
TROUBLE_PERIODS = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 300.0)
"""Seconds until a child is asked about for the first time, for it may take a moment to get going, and then again."""
TROUBLE_AT_ONCE = 20
"""Namespaces asked about in one tick, those of children in trouble for the shortest time first.

One answer serves all children of a namespace whose time has come: thousands may wait for a volume.
"""
_TICK = 0.5
_REASON, _MESSAGE = 128, 1024
_WARNINGS = 50
"""Kept of each child, the newest."""


class ProgressPuller:
    """Asks every working pod on its status port, with a proof by the key of its workload."""

    def __init__(
        self,
        store: Store,
        session: aiohttp.ClientSession,
        master_key: bytes,
        now: Callable[[], datetime],
        port: int = STATUS_PORT,
    ) -> None:
        self._store = store
        self._session = session
        self._master_key = master_key
        self._now = now
        self._port = port
        self._slots = asyncio.Semaphore(PROGRESS_PARALLEL)

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await asyncio.gather(*(self.pull(pod) for pod in list(self._store.working)))
            await asyncio.sleep(PROGRESS_PERIOD)

    async def pull(self, ref: Ref) -> None:
        """Ask one pod."""
        pod = self._store.get(ref)
        owner = self._store.owner_of(pod) if pod else None
        if pod is None or owner is None:
            return
        uid = pod["metadata"]["labels"].get(Label.OWNER_UID, "")
        workload = credential.workload(owner.kind, owner.namespace, owner.name, uid)
        key = credential.private_key(self._master_key, workload)
        try:
            async with self._slots, asyncio.timeout(PROGRESS_TIMEOUT):
                found: Progress | Unreachable = await self._ask(pod["status"]["podIP"], key)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            found = self._unreachable(ref, str(error) or f"no answer within {PROGRESS_TIMEOUT:.0f} s")
        except ValidationError as error:
            found = self._unreachable(ref, f"not a progress document: {error.errors(include_url=False)[0]['msg']}")
        self._store.set_progress(ref, found)

    async def _ask(self, address: str, key: Ed25519PrivateKey) -> Progress:
        host = f"[{address}]" if ":" in address else address
        async with self._session.get(
            f"http://{host}:{self._port}{PROGRESS_PATH}",
            headers={"Authorization": prove(key, "GET", PROGRESS_PATH, b"", self._now().timestamp())},
            allow_redirects=False,
        ) as response:
            if response.status != 200:
                said = (await response.content.read(_MESSAGE)).decode(errors="replace").strip()
                raise aiohttp.ClientError(f"status {response.status}: {said}".removesuffix(": "))
            body = bytearray()
            async for chunk in response.content.iter_chunked(8192):
                body += chunk
                if len(body) > MAX_BYTES:
                    raise aiohttp.ClientError(f"more than {MAX_BYTES} bytes")
        return Progress.model_validate_json(bytes(body))

    def _unreachable(self, ref: Ref, error: str) -> Unreachable:
        """The first error of a row stays: what changes with every attempt would wake the resource for nothing."""
        before = self._store.progress(ref)
        return before if isinstance(before, Unreachable) else Unreachable(self._now(), error[:256])


@dataclass(slots=True)
class _Due:
    """The children of a namespace whose time has come; `period` of the one that was asked about least."""

    period: int
    refs: list[Ref] = field(default_factory=list)


class WarningsPuller:
    """Asks for the Warning events of children in trouble, at first after two seconds, then ever more rarely."""

    def __init__(self, api: Api, store: Store, calm: Calm) -> None:
        self._api = api
        self._store = store
        self._calm = calm
        self._since: dict[Ref, float] = {}
        self._waiting: tuple[deque[tuple[float, float, Ref]], ...] = tuple(deque() for _ in TROUBLE_PERIODS)
        """By period, in the order of time: when to ask, since when it is in trouble, and about what."""
        self._due: dict[str, _Due] = {}
        """By namespace, those that have waited longest first."""

    async def run(self) -> None:
        """Ask until cancelled; while children are made, a little later: a list of events costs the server much."""
        loop = asyncio.get_running_loop()
        while True:
            await self._calm.come(loop.time())
            await self.tick(loop.time())
            await asyncio.sleep(_TICK)

    async def tick(self, now: float) -> None:
        """Ask about those whose time has come, first about those that were asked about least."""
        troubled = self._store.troubled
        for ref in self._since.keys() - troubled:
            del self._since[ref]
        for ref in troubled - self._since.keys():
            self._since[ref] = now
            self._waiting[0].append((now + TROUBLE_PERIODS[0], now, ref))
        self._take_due(now)
        for namespace in nsmallest(TROUBLE_AT_ONCE, self._due, key=lambda namespace: self._due[namespace].period):
            await self._pull(namespace, self._due.pop(namespace).refs)

    def _take_due(self, now: float) -> None:
        for period, waiting in enumerate(self._waiting):
            while waiting and waiting[0][0] <= now:
                _, since, ref = waiting.popleft()
                if self._since.get(ref) != since:
                    continue
                longer = min(period + 1, len(TROUBLE_PERIODS) - 1)
                self._waiting[longer].append((now + TROUBLE_PERIODS[longer], since, ref))
                due = self._due.setdefault(ref.namespace, _Due(period))
                due.period = min(due.period, period)
                due.refs.append(ref)

    async def _pull(self, namespace: str, refs: Sequence[Ref]) -> None:
        about: dict[str, list[ChildWarning]] = {}
        known: dict[str, Ref] = {}
        for ref in refs:
            if (uid := self._store.uid(ref)) is not None:
                known[uid], about[uid] = ref, []
        if not known:
            return
        try:
            async for event in self._api.warnings(namespace, next(iter(known)) if len(known) == 1 else None):
                if (found := about.get(event["involvedObject"].get("uid", ""))) is not None:
                    found.append(_warning(event))
        except errors.ApiError as error:
            log.warning("events of %s cannot be read: %s", namespace, error)
            return
        for uid, ref in known.items():
            newest = sorted(about[uid], key=lambda warning: warning.time)[-_WARNINGS:]
            self._store.set_warnings(ref, uid, tuple(newest))


def _warning(event: Object) -> ChildWarning:
    series = event.get("series") or {}
    time = (
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
    )
    return ChildWarning(
        str(event.get("reason") or "")[:_REASON], str(event.get("message") or "")[:_MESSAGE], str(time or "")
    )
