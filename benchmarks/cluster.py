"""A control plane, the measured operator, and a number of resources that grows from scenario to scenario."""

import asyncio
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.client import Client, Collection, connect
from benchmarks.operators import Object, Operator, Subject
from benchmarks.process import Process
from benchmarks.sightings import Owner, Sightings, watching
from tests.integration.audit import Request, requests
from tests.integration.control_plane import ControlPlane

QUIET = 1.5
"""Seconds without a write after which an operator is taken to be at rest."""
NAMESPACE_SIZE = 100
"""Resources in each namespace of a large cluster."""
_LOADERS = 24
_NAMESPACES = Collection("v1", "namespaces")


@dataclass(frozen=True, slots=True)
class Made:
    """A resource that the tool has made."""

    subject: Subject
    obj: Object

    @property
    def owner(self) -> Owner:
        """As its children name it."""
        meta = self.obj["metadata"]
        return self.subject.kind, meta["namespace"], meta["name"]


@dataclass(frozen=True, slots=True)
class Growth:
    """What it cost to take in a number of resources at once."""

    resources: int
    seconds: float
    cpu: float
    writes: tuple[Request, ...]


class Cluster:
    """`start` before everything else; `grow` to a number of resources that all have their first child."""

    def __init__(self, plane: ControlPlane, client: Client, operator: Operator, directory: Path) -> None:
        self.plane = plane
        self.client = client
        self.operator = operator
        self.process = Process(operator, directory / "operator.log")
        self.kubeconfig = plane.write_kubeconfig("operator", plane.token(operator.account))
        self.made: list[Made] = []
        self.growth: list[Growth] = []
        self.remembered: dict[str, float] = {}
        """What a scenario measured first, by kind, for its later runs."""
        self.random = random.Random(7)
        self._serial = 0

    async def start(self, kubeconfig: Path | None = None) -> float:
        """Start the operator; the seconds until it was ready."""
        return await self.process.start(kubeconfig or self.kubeconfig)

    async def namespace(self) -> str:
        """A new one, with what its resources need."""
        self._serial += 1
        name = f"bench-{self._serial}"
        await self.client.create(_NAMESPACES, {"metadata": {"name": name}})
        if self.operator.prepare is not None:
            await self.operator.prepare(self.client, name)
        return name

    def template(self, subject: Subject, namespace: str) -> Made:
        """A resource with a name of its own, not made yet."""
        self._serial += 1
        return Made(subject, subject.template(namespace, f"bench-{self._serial:06}"))

    async def create(self, made: Made) -> None:
        """POST."""
        await self.client.create(made.subject.collection, made.obj)

    async def grow(self, size: int) -> None:
        """Make resources until there are `size`, each with its first child; then wait for the operator to rest."""
        wanted = size - len(self.made)
        if wanted <= 0:
            return
        spaces = [await self.namespace() for _ in range(-(-wanted // NAMESPACE_SIZE))]
        await self.settle()
        mix = [subject for subject in self.operator.subjects for _ in range(subject.weight)]
        new = [self.template(mix[i % len(mix)], spaces[i // NAMESPACE_SIZE]) for i in range(wanted)]
        loop, position, cpu = asyncio.get_running_loop(), self.position(), self.process.cpu
        began = loop.time()
        await self.until_children(new, lambda: in_parallel(_LOADERS, map(self.create, new)), 60 + wanted / 10)
        seconds = loop.time() - began
        await self.settle()
        self.random.shuffle(new)
        self.made[:0] = new
        self.growth.append(Growth(wanted, seconds, self.process.cpu - cpu, tuple(self.writes(position))))

    async def until_children(
        self, new: Sequence[Made], make: Callable[[], Coroutine[Any, Any, None]], seconds: float
    ) -> list[float]:
        """Make resources; when the first child of each was seen."""
        kinds = {made.subject.child for made in new}
        spaces = {made.owner[1] for made in new}
        space = next(iter(spaces)) if len(spaces) == 1 else ""
        async with asyncio.timeout(seconds), watching_all(self.client, kinds, space) as seen:
            expected = [seen[made.subject.child].expect(made.owner) for made in new]
            await make()
            return list(await asyncio.gather(*expected))

    async def settle(self, times: int = 1, seconds: float = 300.0) -> None:
        """Until the operator has written nothing for a while, or several."""
        async with asyncio.timeout(seconds):
            while True:
                position = self.position()
                await asyncio.sleep(times * QUIET)
                if not self.writes(position):
                    return

    def position(self) -> int:
        """The end of the audit log."""
        return self.plane.audit_log.stat().st_size

    def writes(self, since: int) -> list[Request]:
        """What the operator has written since a position in the audit log, but what is no answer to anything."""
        found = requests(self.plane.audit_log, self.operator.account, since)
        return [each for each in found if each.write and each.resource not in self.operator.ignored]

    def sample(self, count: int) -> list[Made]:
        """Different resources: those that were given out longest ago, or never."""
        found, self.made = self.made[:count], [*self.made[count:], *self.made[:count]]
        return found


@asynccontextmanager
async def cluster(kube: Path, operator: Operator) -> AsyncIterator[Cluster]:
    """A control plane with the operator's chart installed in it; the operator is not started yet."""
    directory = Path(tempfile.mkdtemp(prefix="bench-"))
    plane = ControlPlane(kube, directory, controllers=(), audited=(f"system:serviceaccount:{operator.account}",))
    found: Cluster | None = None
    try:
        await asyncio.to_thread(plane.start)
        if operator.chart is not None:
            space = operator.account.partition(":")[0]
            arguments = ("install", "deepseek", str(operator.chart), "--namespace", space, "--create-namespace")
            await asyncio.to_thread(plane.helm, *arguments)
        async with connect(plane.kubeconfig) as client:
            found = Cluster(plane, client, operator, directory)
            yield found
    finally:
        if found is not None:
            found.process.kill()
        plane.stop()
        shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def watching_all(
    client: Client, kinds: Iterable[Collection], namespace: str = ""
) -> AsyncIterator[dict[Collection, Sightings]]:
    """The sightings of several kinds of children."""
    first, *rest = kinds
    async with watching(client, first, namespace) as seen:
        if rest:
            async with watching_all(client, rest, namespace) as others:
                yield {first: seen, **others}
        else:
            yield {first: seen}


async def in_parallel(limit: int, work: Iterable[Coroutine[Any, Any, Any]]) -> None:
    """All of it, at most `limit` at a time."""
    waiting = iter(work)

    async def go_on() -> None:
        for coroutine in waiting:
            await coroutine

    async with asyncio.TaskGroup() as group:
        for _ in range(limit):
            group.create_task(go_on())
