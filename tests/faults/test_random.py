"""Everything goes wrong at once, at random: the end is that of an undisturbed journey."""

import random

from deepseek_operator.engine.sweep import PERIOD

from tests.faults import virtual_time
from tests.faults.conftest import undisturbed
from tests.faults.connection import RandomLog
from tests.faults.journeys import JOURNEYS, travel
from tests.faults.oracles import assert_good_end, without_jobs
from tests.faults.process import WatchFaults

BAD_TIMES = 3600.0
"""Seconds, after which all goes well."""


def test_any_mixture_of_faults_ends_well(seed: int) -> None:
    draw = random.Random(seed)
    journey = draw.choice(JOURNEYS)
    reference = undisturbed(journey)
    faults = WatchFaults(seed, draw.choice((0.0, 0.1)), 0.2, draw.choice((0.001, 2.0)), reordered=draw.random() < 0.5)

    async def run() -> None:
        log = RandomLog(seed, draw.choice((0.02, 0.1, 0.3)), BAD_TIMES)
        world, process = await travel(journey, log, faults, step=BAD_TIMES + PERIOD)
        await assert_good_end(world, log, process)
        assert without_jobs(world.snapshot()) == without_jobs(reference.end)
        volumes = {ref: count for ref, count in world.created.items() if ref.kind == "PersistentVolumeClaim"}
        assert set(volumes.values()) <= {1}, "no volume was made twice"

    virtual_time.run(run(), seed)
