"""Resources whose children are refused, for ever, among as many good ones: whether the good ones wait for them.

Longer, that is, than among as many good ones more: whatever is made takes its share of the machine.
"""

import asyncio

from benchmarks.client import Collection
from benchmarks.cluster import Cluster, Made
from benchmarks.operators import Subject
from benchmarks.report import Measurement, at_most, quantile, quartiles
from benchmarks.sightings import watching

COUNT = 1_000
PACE = 0.1
"""Seconds from one good resource to the next: slow enough that none waits for those before it."""
_SLOWER = 20.0
_QUOTAS = Collection("v1", "resourcequotas")


async def run(cluster: Cluster) -> list[Measurement]:
    """Of the first kind of resource. It comes last: the poison stays."""
    subject = cluster.operator.subjects[0]
    await cluster.settle()
    good = await _waits(cluster, subject, await cluster.namespace())
    await cluster.settle()
    refused = await _waits(cluster, subject, await _refusing(cluster, subject))
    named = f"{subject.kind}: POST to {subject.child.plural}, {COUNT:,} at {1 / PACE:.0f}/s, p50"
    before, beside = quantile(good, 0.5), quantile(refused, 0.5)
    return [
        Measurement(f"{named}, among as many good ones", before, "ms", quartiles(good, "ms")),
        Measurement(f"{named}, among as many refused", beside, "ms", quartiles(refused, "ms")),
        Measurement("slower among refused ones", 100 * (beside / before - 1), "%", "", at_most(_SLOWER)),
    ]


async def _refusing(cluster: Cluster, subject: Subject) -> str:
    """A namespace whose quota has no room for the first child."""
    namespace, child = await cluster.namespace(), subject.child
    group, _, _ = child.api_version.rpartition("/")
    counted = f"count/{child.plural}" + (f".{group}" if group else "")
    quota = {"metadata": {"name": "none", "namespace": namespace}, "spec": {"hard": {counted: "0"}}}
    await cluster.client.create(_QUOTAS, quota)
    return namespace


async def _waits(cluster: Cluster, subject: Subject, beside: str) -> list[float]:
    """Milliseconds from the POST of each good resource to its first child; each has one in `beside` made with it."""
    namespace, loop = await cluster.namespace(), asyncio.get_running_loop()
    good, others = ([cluster.template(subject, space) for _ in range(COUNT)] for space in (namespace, beside))
    taken: list[float] = []
    async with asyncio.timeout(300), watching(cluster.client, subject.child, namespace) as seen:

        async def wait(made: Made) -> None:
            first, began = seen.expect(made.owner), loop.time()
            await cluster.create(made)
            taken.append(1000 * (await first - began))

        async with asyncio.TaskGroup() as group:
            for made, other in zip(good, others, strict=True):
                group.create_task(wait(made))
                group.create_task(cluster.create(other))
                await asyncio.sleep(PACE)
    return taken
