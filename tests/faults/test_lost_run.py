"""A run is deleted, every status and Job is lost: its published model finds its volumes, whatever goes wrong then."""

import asyncio

import pytest

from tests.faults import virtual_time
from tests.faults.connection import Fault, Log
from tests.faults.oracles import assert_good_end
from tests.faults.process import Process
from tests.faults.scenario import CONTROLLERS, PUBLISHED_REF, RUN_REF, SERVICE_REF, life, rest
from tests.faults.world import World


async def recovery(faults: dict[int, Fault]) -> tuple[World, Log]:
    """The life of the quickstart, its run deleted, everything forgotten; faults count from there."""
    world, process = await life(Log())
    await process.end()
    world.delete(RUN_REF)
    for ref in [ref for ref in world.objects if ref.kind == "Job"]:
        world.delete(ref)
    for ref in (PUBLISHED_REF, SERVICE_REF):
        world.set_status(ref, {"observedGeneration": -1})
    await asyncio.sleep(5)
    log = Log(faults)
    process = Process(world, log, CONTROLLERS)
    await process.start()
    process = await rest(world, log, process)
    await assert_good_end(world, log, process)
    return world, log


def test_the_model_and_its_service_are_ready_on_the_same_volumes() -> None:
    async def run() -> None:
        world, _ = await life(Log())
        before = world.objects[PUBLISHED_REF]["status"]
        after, _ = await recovery({})
        status = after.objects[PUBLISHED_REF]["status"]
        assert (status["artifacts"], status["lineage"]) == (before["artifacts"], before["lineage"])
        assert {after.objects[ref]["status"]["phase"] for ref in (PUBLISHED_REF, SERVICE_REF)} == {"Ready"}
        assert max(count for ref, count in after.created.items() if "Volume" in ref.kind) == 1
        assert RUN_REF not in after.objects

    virtual_time.run(run())


@pytest.mark.parametrize(
    "fault", [Fault.KILL_BEFORE, Fault.KILL_LOST, Fault.TIMEOUT_AFTER], ids=lambda fault: fault.name.lower()
)
def test_the_end_is_the_same_whatever_goes_wrong_on_the_way(fault: Fault) -> None:
    async def run(index: int) -> int:
        world, log = await recovery({} if index < 0 else {index: fault})
        assert log.faults == {}, "the fault never happened"
        ends.append(world.snapshot())
        return len(log.writes)

    ends: list[object] = []
    for index in range(virtual_time.run(run(-1))):
        virtual_time.run(run(index))
        assert ends[-1] == ends[0], f"{fault.value} at write {index}"
