"""Children that somebody changed while no operator was looking."""

import asyncio

from benchmarks.cluster import Cluster
from benchmarks.report import Measurement, at_most, quartiles
from benchmarks.sightings import Owner, owners, watching

COUNT = 20
_TARGET = 90.0


async def run(cluster: Cluster) -> list[Measurement]:
    """How long after its start the operator has repaired them all."""
    drift, loop = cluster.operator.drift, asyncio.get_running_loop()
    if drift is None:
        return []
    await cluster.process.stop()
    children = [child for child in await cluster.client.list(drift.child) if owners(child)][:COUNT]
    for child in children:
        meta = child["metadata"]
        await cluster.client.patch(drift.child, meta["namespace"], meta["name"], drift.patch)
    damaged: list[Owner] = [owners(child)[0] for child in children]
    async with watching(cluster.client, drift.child) as seen:
        repaired = [seen.expect(owner, drift.repaired) for owner in damaged]
        began = loop.time()
        await cluster.start()
        taken = [await asyncio.wait_for(time, 300) - began for time in repaired]
    metric = f"{len(children)} children drifted among {len(cluster.made):,} resources: repaired after start"
    return [Measurement(metric, max(taken), "s", quartiles(taken, "s"), at_most(_TARGET))]
