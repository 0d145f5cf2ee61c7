"""The API server gone, overloaded, and forgetful, while users go on changing things."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from benchmarks.cluster import Cluster, watching_all
from benchmarks.interposer import Interposer
from benchmarks.report import Measurement, at_most
from tests.integration.audit import Request

Change = Callable[[], Awaitable[None]]
Disturb = Callable[[Interposer, Change], Awaitable[None]]

CHANGED = 20
GONE = 30.0
STORM = 15.0
_BUSY = 0.5
_CONVERGED = 120.0
_REQUESTS = 300.0
_RESTART = 2.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """What came of one disturbance."""

    converged: float
    repeated: int
    """The most writes to one object."""
    needless: int
    """Writes to resources that nobody changed, and to their children."""
    requests: int
    """The most requests in one second."""


async def run(cluster: Cluster) -> list[Measurement]:
    """Each disturbance with some resources changed meanwhile."""
    await cluster.process.stop()
    found: list[Measurement] = []
    changed: set[tuple[str, str]] = set()
    async with Interposer(cluster.kubeconfig, cluster.plane.directory) as interposer:
        await cluster.start(interposer.kubeconfig)
        await cluster.settle(times=3)
        async with _restarted(cluster, interposer):
            for name, disturb in (("gone for 30 s", _gone), ("429 storm", _busy), ("410 on all watches", _expired)):
                trouble = await _through(cluster, interposer, disturb, changed)
                found += _told(name, trouble)
        await cluster.process.stop()
    await cluster.start()
    return found


def _told(name: str, trouble: Trouble) -> list[Measurement]:
    return [
        Measurement(
            f"{name}: {CHANGED} changes carried out after its end", trouble.converged, "s", "", at_most(_CONVERGED)
        ),
        Measurement(f"{name}: most writes to one object", trouble.repeated, "", "", at_most(1)),
        Measurement(f"{name}: writes for what nobody changed", trouble.needless, "", "", at_most(0)),
        Measurement(f"{name}: most requests in a second", trouble.requests, "/s", "", at_most(_REQUESTS)),
    ]


async def _gone(interposer: Interposer, change: Change) -> None:
    interposer.gone = True
    interposer.cut()
    await asyncio.sleep(GONE / 2)
    await change()
    await asyncio.sleep(GONE / 2)
    interposer.gone = False


async def _busy(interposer: Interposer, change: Change) -> None:
    interposer.busy = _BUSY
    await change()
    await asyncio.sleep(STORM)
    interposer.busy = 0.0


async def _expired(interposer: Interposer, change: Change) -> None:
    interposer.gone = True
    interposer.expire()
    await change()
    interposer.gone = False


async def _through(
    cluster: Cluster, interposer: Interposer, disturb: Disturb, changed: set[tuple[str, str]]
) -> Trouble:
    """`changed`: whatever was changed so far, for a write that was refused again and again comes late."""
    loop = asyncio.get_running_loop()
    chosen = cluster.sample(CHANGED)
    changed |= {(made.owner[1], made.owner[2]) for made in chosen}
    position, began = cluster.position(), loop.time()
    async with watching_all(cluster.client, {made.subject.child for made in chosen}) as seen:
        arrived: list[asyncio.Future[float]] = []

        async def change() -> None:
            for made in chosen:
                what = made.subject.change(made.obj)
                arrived.append(seen[made.subject.child].expect(made.owner, what.arrived))
                await cluster.client.patch(made.subject.collection, *made.owner[1:], what.patch)

        await disturb(interposer, change)
        ended = loop.time()
        times = await asyncio.wait_for(asyncio.gather(*arrived), 600)
    await cluster.settle(times=3)
    writes = [write for write in cluster.writes(position) if write.code < 300]
    each = Counter((write.resource, write.namespace, write.name) for write in writes)
    return Trouble(
        converged=max(0.0, max(times) - ended),
        repeated=max(each.values(), default=0),
        needless=sum(1 for write in writes if not _concerns(changed, write)),
        requests=max(interposer.by_second[second] for second in range(int(began), int(loop.time()) + 1)),
    )


def _concerns(changed: set[tuple[str, str]], write: Request) -> bool:
    """Children begin with the names of their owners."""
    return any(write.namespace == space and write.name.startswith(name) for space, name in changed)


@asynccontextmanager
async def _restarted(cluster: Cluster, interposer: Interposer) -> AsyncIterator[None]:
    """An operator that ends, because it has lost its lease, is started again, as the kubelet does."""

    async def restart() -> None:
        while True:
            await asyncio.sleep(_RESTART)
            if not cluster.process.alive:
                cluster.process.spawn(interposer.kubeconfig)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(restart())
        yield
        task.cancel()
