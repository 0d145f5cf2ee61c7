"""A model of a hub and its variant: the same end whatever goes wrong at any write, and nothing is fetched again."""

import pytest
from deepseek_operator.api.names import MODEL
from deepseek_operator.controllers.decision import Ref

from tests.faults import virtual_time
from tests.faults.connection import Fault, Log
from tests.faults.oracles import assert_good_end
from tests.faults.process import Process
from tests.faults.scenario import CONTROLLERS, TENANT, resource, rest
from tests.faults.simulators import Simulators
from tests.faults.world import World

REF = Ref(MODEL, TENANT, "fetched")
SPEC = {
    "source": {"huggingFace": {"repo": "tiny/model", "tokenSecretRef": {"name": "hub"}}},
    "variants": [{"name": "int8", "quantization": {"scheme": "int8"}}],
}


async def life(faults: dict[int, Fault]) -> tuple[World, Log]:
    """From the resource to Ready."""
    world, log = World(), Log(faults)
    Simulators(world)
    world.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TENANT}})
    world.create(resource(REF, SPEC))
    process = Process(world, log, CONTROLLERS)
    await process.start()
    process = await rest(world, log, process)
    await assert_good_end(world, log, process)
    assert world.objects[REF]["status"]["phase"] == "Ready"
    assert world.objects[REF]["status"]["revision"] == "c" * 40
    jobs = [ref.name for ref in world.objects if ref.kind == "Job" and "-fetch-" in ref.name]
    assert len(jobs) == 1
    return world, log


@pytest.mark.parametrize(
    "fault", [Fault.KILL_BEFORE, Fault.KILL_LOST, Fault.TIMEOUT_AFTER], ids=lambda fault: fault.name.lower()
)
def test_the_end_is_the_same_whatever_goes_wrong_on_the_way(fault: Fault) -> None:
    async def run(index: int) -> int:
        world, log = await life({} if index < 0 else {index: fault})
        assert log.faults == {}, "the fault never happened"
        ends.append(world.snapshot())
        return len(log.writes)

    ends: list[object] = []
    for index in range(virtual_time.run(run(-1))):
        virtual_time.run(run(index))
        assert ends[-1] == ends[0], f"{fault.value} at write {index}"
