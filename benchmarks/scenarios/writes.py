"""What the operator writes beyond its children, counted by the API server."""

import asyncio
from collections import Counter

from benchmarks.cluster import Cluster
from benchmarks.report import Measurement, at_most

QUIET = 20.0


async def run(cluster: Cluster) -> list[Measurement]:
    """For each resource while they came, then with nothing to do, then over a restart."""
    growth, existing = cluster.growth[-1], f"{len(cluster.made):,} resources"
    children = {where.plural for subject in cluster.operator.subjects for where in subject.made}
    beyond = [
        write for write in growth.writes if not (write.verb in {"create", "patch"} and write.resource in children)
    ]
    what = Counter(write.resource for write in beyond)
    spread = ", ".join(f"{name} {count / growth.resources:.2f}" for name, count in what.most_common(4))
    await cluster.settle(times=3)
    position = cluster.position()
    await asyncio.sleep(QUIET)
    idle = len(cluster.writes(position))
    await cluster.process.stop()
    position = cluster.position()
    await cluster.start()
    await asyncio.sleep(QUIET)
    restart = len(cluster.writes(position))
    return [
        Measurement(
            "own writes per resource beyond its children", len(beyond) / growth.resources, "", spread, at_most(2)
        ),
        Measurement(f"writes in {QUIET:.0f} s at a fixed point, {existing}", idle, "", "", at_most(0)),
        Measurement(f"writes over a restart, {existing}", restart, "", "", at_most(0)),
    ]
