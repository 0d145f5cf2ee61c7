"""Something goes wrong at one write: at every write of every journey, in every way, and the end is the same."""

import pytest
from deepseek_operator.api.names import PLURALS

from tests.faults import virtual_time
from tests.faults.conftest import Points, undisturbed
from tests.faults.connection import RETRY_AFTER, Fault, Log
from tests.faults.journeys import Journey, travel
from tests.faults.oracles import assert_good_end


def test_the_journey_without_faults_gets_there(journey: Journey) -> None:
    reference = undisturbed(journey)
    phases = {name: obj["status"]["phase"] for name, obj in reference.end.items() if name.partition("/")[0] in PLURALS}
    assert phases == {str(ref): phase for ref, phase in journey.end.items()}
    assert max(reference.created.values()) == 1


@pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.name.lower())
def test_the_end_is_the_same_and_nothing_is_made_twice(journey: Journey, fault: Fault, points: Points) -> None:
    reference = undisturbed(journey)

    async def run(index: int) -> None:
        log = Log({index: fault})
        world, process = await travel(journey, log)
        await assert_good_end(world, log, process)
        assert log.faults == {}, "the fault never happened"
        assert world.snapshot() == reference.end
        assert world.created == reference.created

    for index in points(len(reference.writes), f"{journey} {fault}"):
        try:
            virtual_time.run(run(index))
        except Exception as error:
            verb, ref = reference.writes[index]
            error.add_note(f"{fault.value} at write {index}: {verb} {ref}")
            raise


def test_who_is_told_to_wait_waits(journey: Journey, points: Points) -> None:
    """429 with Retry-After: whatever happens meanwhile, the same thing is not asked for before."""
    reference = undisturbed(journey)

    async def run(index: int) -> None:
        log = Log({index: Fault.TOO_MANY})
        world, _ = await travel(journey, log)
        verb, ref = log.writes[index]
        again = [
            time - log.times[index]
            for write, time in zip(log.writes[index + 1 :], log.times[index + 1 :], strict=True)
            if write == (verb, ref)
        ]
        assert again or ref not in world.objects, f"{verb} {ref} is never tried again"
        assert min(again, default=RETRY_AFTER) >= RETRY_AFTER, f"{verb} {ref} is tried again after {again[0]:.1f} s"

    for index in points(len(reference.writes), f"{journey} wait"):
        virtual_time.run(run(index))


def test_a_read_that_fails_changes_nothing(journey: Journey, points: Points) -> None:
    reference = undisturbed(journey)

    async def run(index: int) -> None:
        log = Log(failing_reads={index})
        world, process = await travel(journey, log)
        await assert_good_end(world, log, process)
        assert log.failing_reads == set(), "the fault never happened"
        assert world.snapshot() == reference.end
        assert world.created == reference.created

    for index in points(len(reference.reads), f"{journey} reads"):
        virtual_time.run(run(index))
