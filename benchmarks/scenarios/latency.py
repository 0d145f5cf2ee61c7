"""From POST to the first child in the sight of another client, while nothing else happens."""

import asyncio

from benchmarks.cluster import Cluster
from benchmarks.operators import Subject
from benchmarks.report import Measurement, at_most, quantile, quartiles
from benchmarks.sightings import watching

COUNT = 30
_WARM_UP = 3
_PAUSE = 0.2
_TARGET = 15.0


async def run(cluster: Cluster) -> list[Measurement]:
    """One figure for each kind."""
    return [await _measure(cluster, subject) for subject in cluster.operator.subjects]


async def _measure(cluster: Cluster, subject: Subject) -> Measurement:
    namespace, loop = await cluster.namespace(), asyncio.get_running_loop()
    await cluster.settle()
    taken: list[float] = []
    async with watching(cluster.client, subject.child, namespace) as seen:
        for _ in range(_WARM_UP + COUNT):
            made = cluster.template(subject, namespace)
            first, began = seen.expect(made.owner), loop.time()
            await cluster.create(made)
            taken.append(1000 * (await asyncio.wait_for(first, 60) - began))
            await asyncio.sleep(_PAUSE)
    taken = taken[_WARM_UP:]
    return Measurement(
        f"{subject.kind}: POST to {subject.child.plural}, p50",
        quantile(taken, 0.5),
        "ms",
        quartiles(taken, "ms"),
        at_most(_TARGET),
    )
