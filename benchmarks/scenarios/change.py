"""From the PATCH of one spec among many to its changed child."""

import asyncio

from benchmarks.cluster import Cluster, Made
from benchmarks.report import Measurement, at_most, quantile, quartiles
from benchmarks.sightings import watching

COUNT = 100
_PAUSE = 0.05
_TARGET = 250.0


async def run(cluster: Cluster) -> list[Measurement]:
    """One figure over all kinds, resource by resource."""
    taken = [await _change(cluster, made) for made in cluster.sample(COUNT)]
    await cluster.settle()
    metric = f"among {len(cluster.made):,}: PATCH to the changed child, p99"
    return [Measurement(metric, quantile(taken, 0.99), "ms", quartiles(taken, "ms"), at_most(_TARGET))]


async def _change(cluster: Cluster, made: Made) -> float:
    subject, (_, namespace, name), loop = made.subject, made.owner, asyncio.get_running_loop()
    change = subject.change(made.obj)
    async with watching(cluster.client, subject.child, namespace) as seen:
        arrived, began = seen.expect(made.owner, change.arrived), loop.time()
        await cluster.client.patch(subject.collection, namespace, name, change.patch)
        end = await asyncio.wait_for(arrived, 60)
    await asyncio.sleep(_PAUSE)
    return 1000 * (end - began)
