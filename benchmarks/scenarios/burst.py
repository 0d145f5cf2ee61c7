"""Bursts of resources, and how the operator's rate compares with that of a bare writer of the same objects."""

import asyncio
import statistics

from benchmarks.bare_writer import BareWriter
from benchmarks.cluster import Cluster, in_parallel
from benchmarks.operators import Subject
from benchmarks.report import Measurement, at_least, at_most

COUNT, IN_FLIGHT = 100, 10
ROUNDS = 5
_RATE, _SHARE, _SLOWER = 60.0, 70.0, 15.0


async def run(cluster: Cluster) -> list[Measurement]:
    """Rates of each kind with what exists now, and how they compare with those of an empty cluster."""
    found: list[Measurement] = []
    existing = len(cluster.made)
    for number, subject in enumerate(cluster.operator.subjects):
        rates, shares = [], []
        bare = await BareWriter.install(cluster.client, subject)
        for _ in range(ROUNDS):
            rates.append(rate := await _operator_rate(cluster, subject))
            shares.append(100 * rate / await _bare_rate(cluster, bare))
        rate, named = statistics.median(rates), f"{subject.kind}, {existing:,} existing"
        spread = f"{min(rates):.0f}-{max(rates):.0f}/s, n={ROUNDS}"
        found.append(
            Measurement(f"{named}: to the first child", rate, "/s", spread, at_least(_RATE) if not number else None)
        )
        spread = f"{min(shares):.0f}-{max(shares):.0f} %"
        share = statistics.median(shares)
        found.append(Measurement(f"{named}: share of the bare writer", share, "%", spread, at_least(_SHARE)))
        cluster.remembered.setdefault(subject.kind, rate)
        if existing:
            slower = 100 * (1 - rate / cluster.remembered[subject.kind])
            found.append(Measurement(f"{named}: slower than at first", slower, "%", "", at_most(_SLOWER)))
    return found


async def _operator_rate(cluster: Cluster, subject: Subject) -> float:
    namespace = await cluster.namespace()
    await cluster.settle()
    burst = [cluster.template(subject, namespace) for _ in range(COUNT)]
    began = asyncio.get_running_loop().time()
    seen = await cluster.until_children(burst, lambda: in_parallel(IN_FLIGHT, map(cluster.create, burst)), 120)
    await cluster.settle()
    return COUNT / (max(seen) - began)


async def _bare_rate(cluster: Cluster, bare: BareWriter) -> float:
    namespace = await cluster.namespace()
    await cluster.settle()
    await bare.learn(cluster.template(bare.subject, namespace).obj)
    burst = [cluster.template(bare.subject, namespace) for _ in range(COUNT)]
    began = asyncio.get_running_loop().time()
    writes = (bare.write(made.obj) for made in burst)
    seen = await cluster.until_children(burst, lambda: in_parallel(IN_FLIGHT, writes), 120)
    return COUNT / (max(seen) - began)
