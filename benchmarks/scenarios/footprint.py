"""Processor time for each resource taken in, and memory with all of them there."""

from benchmarks.cluster import Cluster
from benchmarks.report import Measurement, at_most

_CPU, _STEADY, _PEAK = 5.0, 250.0, 400.0


async def run(cluster: Cluster) -> list[Measurement]:
    """From the last growth, and over a restart with everything there."""
    growth, existing = cluster.growth[-1], f"{len(cluster.made):,} resources"
    grown = cluster.process.memory
    await cluster.process.stop()
    ready = await cluster.start()
    await cluster.settle()
    started = cluster.process.memory
    cpu = cluster.process.cpu
    each = f"{growth.resources:,} resources in {growth.seconds:.0f} s"
    return [
        Measurement("CPU per resource", 1000 * growth.cpu / growth.resources, "ms", each, at_most(_CPU)),
        Measurement(f"memory with {existing}, as they came", grown.now, "MB", "", at_most(_STEADY)),
        Measurement(f"memory with {existing}, as they came, peak", grown.peak, "MB", "", at_most(_PEAK)),
        Measurement(f"memory with {existing}, after a restart", started.now, "MB", "", at_most(_STEADY)),
        Measurement(f"memory with {existing}, after a restart, peak", started.peak, "MB", "", at_most(_PEAK)),
        Measurement(f"restart with {existing}: until ready", ready, "s"),
        Measurement(f"restart with {existing}: CPU until at rest", cpu, "s"),
    ]
