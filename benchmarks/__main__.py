"""`python -m benchmarks [NAME…]`: measure, print the table, write build/bench/NAME.json."""

import argparse
import asyncio
import importlib
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.cluster import cluster
from benchmarks.machine import confine, machine, versions
from benchmarks.operators import Operator
from benchmarks.report import Measurement, table, write
from benchmarks.runtime import RUNTIME
from benchmarks.scenarios import SCENARIOS
from local.build import built

CORES = 2
"""For the API server, etcd, the operator and this tool together."""
EVERY = (*SCENARIOS, *RUNTIME)
RESULTS = Path(__file__).parents[1] / "build" / "bench"


async def measure(
    kube: Path, operator: Operator, names: Sequence[str], scale: float, found: dict[str, list[Measurement]]
) -> None:
    """All scenarios on one cluster that grows: those of the smallest size first. What is `found` stays if one fails."""
    sizes = sorted({size for name in names for size in SCENARIOS[name].sizes})
    async with cluster(kube, operator) as shared:
        await shared.start()
        for size in sizes:
            _say(f"growing to {size * scale:,.0f} resources")
            await shared.grow(round(size * scale))
            for name in names:
                if size in SCENARIOS[name].sizes:
                    _say(name)
                    found.setdefault(name, []).extend(await SCENARIOS[name].run(shared))
        await shared.process.stop()


def measure_runtime(names: Sequence[str]) -> dict[str, list[Measurement]]:
    """All scenarios that need no cluster; what they make lies in one directory and is gone afterwards."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Measurement]] = {}
    with tempfile.TemporaryDirectory(prefix="runtime-", dir=RESULTS) as scratch:
        for name in names:
            _say(name)
            found[name] = RUNTIME[name](Path(scratch))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(EVERY)}; default: all")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the numbers of existing resources")
    parser.add_argument("--operator", default="benchmarks.deepseek", help="module with an OPERATOR to measure")
    told = parser.parse_args(arguments)
    if unknown := [name for name in told.names if name not in EVERY]:
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(EVERY)}")
    names = [name for name in EVERY if name in told.names or not told.names]
    confine(CORES)
    conditions = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
    found: dict[str, list[Measurement]] = {}
    if on_cluster := [name for name in names if name in SCENARIOS]:
        operator: Operator = importlib.import_module(told.operator).OPERATOR
        kube = built() / "kube"
        told_of = {"operator": operator.name, "scale": told.scale, "versions": versions(kube)}
        try:
            asyncio.run(measure(kube, operator, on_cluster, told.scale, found))
        finally:
            _write(found, {**conditions, **told_of})
    if alone := [name for name in names if name in RUNTIME]:
        apart = measure_runtime(alone)
        _write(apart, {**conditions, "versions": versions()})
        found |= apart
    everything = [measurement for measurements in found.values() for measurement in measurements]
    print(table(everything))
    missed = sum(measurement.passed is False for measurement in everything)
    print(f"{missed} of {sum(measurement.target is not None for measurement in everything)} targets missed")
    return 1 if missed else 0


def _write(found: dict[str, list[Measurement]], conditions: dict[str, Any]) -> None:
    for name, measurements in found.items():
        write(RESULTS / f"{name}.json", conditions, measurements)


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
