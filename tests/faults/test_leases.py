"""Two operators whose leases overlap: one gets no time amid a write, another takes over, then the first goes on."""

import asyncio
from collections import Counter

import pytest
from deepseek_operator.engine.lease import DURATION

from tests.faults import virtual_time
from tests.faults.conftest import Points, Reference
from tests.faults.connection import Log
from tests.faults.oracles import assert_good_end
from tests.faults.process import Process
from tests.faults.scenario import CONTROLLERS, arranged
from tests.faults.virtual_time import VirtualLoop
from tests.faults.world import World

OVERLAP = 120.0
"""Seconds between the takeover and the moment when the first operator goes on."""


async def overlapping(log: Log, index: int, moment: str, asleep: float) -> tuple[World, Process]:
    """The quickstart; the first operator is frozen before or after the write of this number reaches the server."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    world = arranged()
    first, second = (Process(world, log, CONTROLLERS, name=name) for name in ("first", "second"))
    frozen = asyncio.Event()

    def freeze() -> None:
        loop.freeze("first")
        frozen.set()

    log.interrupts[index, moment] = freeze
    leading = first.lead()
    await asyncio.sleep(0.001)
    following = second.lead()
    await asyncio.wait_for(frozen.wait(), timeout=600)
    await asyncio.sleep(asleep)
    loop.thaw("first")
    await asyncio.wait_for(leading, timeout=60)
    assert not following.done()
    await asyncio.sleep(300)
    return world, second


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("asleep", [DURATION + 5, DURATION + OVERLAP], ids=["amid", "late"])
def test_the_end_is_the_same_and_nothing_is_made_twice(
    reference: Reference, moment: str, asleep: float, points: Points
) -> None:
    """The second operator is at work when the first goes on, or has long come to rest."""

    async def run(index: int) -> None:
        log = Log()
        world, process = await overlapping(log, index, moment, asleep)
        await assert_good_end(world, log, process)
        assert world.snapshot() == reference.end
        assert world.created == reference.created
        assert not [write for write in log.writes if write[0] == "delete"]
        more = Counter(log.writes) - Counter(reference.writes)
        assert max(more.values(), default=0) <= 1, "the one that was late"

    for index in points(len(reference.writes), f"{moment} {asleep}"):
        try:
            virtual_time.run(run(index))
        except Exception as error:
            verb, ref = reference.writes[index]
            error.add_note(f"frozen {moment} write {index}: {verb} {ref}")
            raise
