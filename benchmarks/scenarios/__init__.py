"""One file for each question; `SCENARIOS` in the order in which they share a cluster that grows."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from benchmarks.cluster import Cluster
from benchmarks.report import Measurement
from benchmarks.scenarios import burst, change, drift, footprint, latency, outage, poison, writes

Run = Callable[[Cluster], Awaitable[list[Measurement]]]

LARGE = 10_000


@dataclass(frozen=True, slots=True)
class Scenario:
    """What to measure, and with how many resources existing."""

    run: Run
    sizes: Sequence[int]


SCENARIOS: dict[str, Scenario] = {
    "latency": Scenario(latency.run, (0,)),
    "burst": Scenario(burst.run, (0, 1_000, 5_000, LARGE)),
    "change": Scenario(change.run, (1_000, LARGE)),
    "footprint": Scenario(footprint.run, (LARGE,)),
    "writes": Scenario(writes.run, (LARGE,)),
    "drift": Scenario(drift.run, (LARGE,)),
    "outage": Scenario(outage.run, (LARGE,)),
    "poison": Scenario(poison.run, (LARGE,)),
}
