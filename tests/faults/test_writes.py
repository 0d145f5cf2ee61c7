"""Something goes wrong at one write: for every write of the path, for every way to go wrong, the same end."""

import pytest

from tests.faults import virtual_time
from tests.faults.conftest import Reference
from tests.faults.connection import Fault, Log
from tests.faults.oracles import assert_good_end
from tests.faults.scenario import life


def test_the_path_without_faults_gets_there(reference: Reference) -> None:
    phases = {name: obj["status"]["phase"] for name, obj in reference.end.items() if "phase" in obj.get("status", {})}
    assert phases.pop("TrainingRun/team/pretrain") == "Complete"
    assert {phase for name, phase in phases.items() if "PersistentVolumeClaim" not in name} == {"Ready"}
    assert max(reference.created.values()) == 1


@pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.name.lower())
def test_the_end_is_the_same_and_nothing_is_made_twice(reference: Reference, fault: Fault) -> None:
    async def run(index: int) -> None:
        log = Log({index: fault})
        world, process = await life(log)
        await assert_good_end(world, log, process)
        assert log.faults == {}, "the fault never happened"
        assert world.snapshot() == reference.end
        assert world.created == reference.created

    for index, (verb, ref) in enumerate(reference.writes):
        try:
            virtual_time.run(run(index))
        except Exception as error:
            error.add_note(f"{fault.value} at write {index}: {verb} {ref}")
            raise
