"""One operator process over the world: the real store, queue, reconciler and sweep; only HTTP and kopf are left out."""

import asyncio
import contextlib
import contextvars
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from deepseek_operator.api.names import FIELD_MANAGER
from deepseek_operator.controllers.decision import Controller, Object, Ref, Settings
from deepseek_operator.engine.kinds import KINDS, WATCHED
from deepseek_operator.engine.lease import Lease, LeaseLostError
from deepseek_operator.engine.metrics import Metrics
from deepseek_operator.engine.pullers import WarningsPuller
from deepseek_operator.engine.queue import WorkQueue
from deepseek_operator.engine.reconcile import Reconciler
from deepseek_operator.engine.store import Store
from deepseek_operator.engine.sweep import Sweep

from tests.faults import secrets
from tests.faults.connection import NAMESPACE, Killed, Log, WorldApi, selected
from tests.faults.virtual_time import PROCESS, now
from tests.faults.world import World

SETTINGS = Settings(
    namespace=NAMESPACE, runtime_image="runtime:test", gateway_url="http://gateway.test", master_key=secrets.MASTER_KEY
)
WORKERS = 4
_WATCHED = frozenset(kind.name for kind in WATCHED)


@dataclass(frozen=True)
class WatchFaults:
    """How the watches of a process misbehave; events of one object stay in order, unless `reordered`."""

    seed: int = 0
    lost: float = 0.0
    repeated: float = 0.0
    longest_delay: float = 0.001
    reordered: bool = False


class Process:
    """From start to kill."""

    def __init__(
        self,
        world: World,
        log: Log,
        controllers: Mapping[str, Controller],
        faults: WatchFaults | None = None,
        name: str = "",
    ) -> None:
        """`name`: where several processes share the world; it is what `VirtualLoop.freeze` takes."""
        self._world = world
        self._context = contextvars.copy_context()
        self._context.run(PROCESS.set, name)
        self._deaf: frozenset[str] = frozenset()
        self._faults = faults or WatchFaults()
        self._random = random.Random(self._faults.seed)
        self._due: dict[Ref, float] = {}
        self.api = WorldApi(world, log)
        self.metrics = Metrics()
        self.queue = WorkQueue(self.metrics)
        self.store = Store(controllers, NAMESPACE, self.queue)
        self.reconciler = Reconciler(self.api, self.store, self.queue, controllers, SETTINGS, self.metrics, now)
        self._sweep = Sweep(self.api, self.store, self.queue.add, NAMESPACE)
        self.lease = Lease(self.api, NAMESPACE, FIELD_MANAGER, name, now)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """List, watch, and begin to work."""
        for obj in list(self._world.objects.values()):
            self._deliver("ADDED", obj)
        self._world.listeners.append(self._on_event)
        running = [self.reconciler.work() for _ in range(WORKERS)]
        puller = WarningsPuller(self.api, self.store, self.queue.calm)
        sweeping = (self._sweep.run(), self._sweep.catch_up())
        for coroutine in (*running, self.reconciler.recorder.run(), *sweeping, puller.run()):
            self._tasks.append(asyncio.create_task(coroutine))

    def lead(self) -> asyncio.Task[None]:
        """Wait for the lease, work, and end when it is lost."""
        return asyncio.get_running_loop().create_task(self._lead(), context=self._context)

    async def _lead(self) -> None:
        await self.lease.acquire()
        await self.start()
        try:
            await self.lease.renew()
        except LeaseLostError:
            await self.end()
        except Killed:
            return

    @contextlib.contextmanager
    def gap(self, *kinds: str) -> Iterator[None]:
        """What happens to these kinds meanwhile is lost: the watch ends with 410 Gone, and starts with a new list."""
        self._deaf = frozenset(kinds)
        yield
        self._deaf = frozenset()
        for ref, obj in list(self._world.objects.items()):
            if ref.kind in kinds:
                self._deliver("ADDED", obj)
        for kind in kinds:
            self._sweep.relisted(KINDS[kind])

    async def end(self) -> None:
        """kill -9, and what is left of it in this test's own process."""
        self.api.kill()
        self._world.listeners.remove(self._on_event)
        self.queue.stop()
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, Killed | asyncio.CancelledError):
                raise outcome

    def panics(self) -> float:
        """Bugs in decisions and in the shell."""
        samples = [sample for metric in self.metrics.panics.collect() for sample in metric.samples]
        return sum(sample.value for sample in samples if sample.name.endswith("_total"))

    def _on_event(self, event: str, obj: Object) -> None:
        if obj["kind"] in self._deaf or self._random.random() < self._faults.lost:
            return
        for _ in range(2 if self._random.random() < self._faults.repeated else 1):
            loop, ref = asyncio.get_running_loop(), Ref.of(obj)
            due = loop.time() + self._random.uniform(0.0, self._faults.longest_delay)
            if not self._faults.reordered:
                due = self._due[ref] = max(self._due.get(ref, 0.0), due)
            loop.call_at(due, self._deliver, event, obj, context=self._context)

    def _deliver(self, event: str, obj: Object) -> None:
        kind = KINDS.get(obj["kind"])
        if kind is None or kind.name not in _WATCHED:
            return
        if event == "DELETED" or not selected(kind, obj):
            self.store.drop(Ref.of(obj), obj["metadata"]["uid"], obj["metadata"]["resourceVersion"])
        else:
            self.store.put(obj)


async def settle(
    world: World,
    log: Log,
    controllers: Mapping[str, Controller],
    process: Process,
    faults: WatchFaults | None = None,
    step: float = 60.0,
) -> Process:
    """Let time pass, with a new process for every one that dies, until nothing changes any more; the process then."""
    quiet = 0
    for _ in range(200):
        before = (world.changes, len(log.writes))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.api.killed.wait(), timeout=step)
        if process.api.killed.is_set():
            await process.end()
            process = Process(world, log, controllers, faults)
            await process.start()
        quiet = quiet + 1 if (world.changes, len(log.writes)) == before else 0
        if quiet == 3:
            return process
    raise AssertionError(f"never at rest; the last writes: {log.writes[-10:]}")
