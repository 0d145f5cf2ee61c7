"""The benchmark itself, with tiny numbers: what it measures here means nothing, but it measures."""

import asyncio
import json
from pathlib import Path

import pytest

from benchmarks import cluster
from benchmarks.__main__ import measure
from benchmarks.deepseek import OPERATOR
from benchmarks.report import Measurement, table, write
from benchmarks.scenarios import SCENARIOS, Scenario, burst, change, drift, latency, outage, poison, writes


@pytest.mark.timeout(240)
def test_every_scenario_runs_and_reports(kube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in (
        (latency, "COUNT", 2), (burst, "COUNT", 4), (burst, "ROUNDS", 1), (change, "COUNT", 4), (drift, "COUNT", 2),
        (writes, "QUIET", 1.0), (outage, "CHANGED", 4), (outage, "GONE", 2.0), (outage, "STORM", 1.0),
        (poison, "COUNT", 4),
        (cluster, "QUIET", 0.3),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    for name, scenario in SCENARIOS.items():
        monkeypatch.setitem(SCENARIOS, name, Scenario(scenario.run, scenario.sizes[-1:]))

    found: dict[str, list[Measurement]] = {}
    asyncio.run(measure(kube, OPERATOR, list(SCENARIOS), 0.002, found))

    assert found.keys() == SCENARIOS.keys()
    assert all(found.values())
    every = [measurement for measurements in found.values() for measurement in measurements]
    idle = [measurement for measurement in found["writes"] if "fixed point" in measurement.metric]
    assert [measurement.value for measurement in idle] == [0]
    path = tmp_path / "bench" / "all.json"
    write(path, {"operator": OPERATOR.name}, every)
    document = json.loads(path.read_text())
    assert {"metric", "value", "unit", "spread", "target", "pass"} == document["measurements"][0].keys()
    assert len(table(every).splitlines()) == len(every) + 2
