"""Events are counted, limited, and never in the way."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from deepseek_operator.controllers.decision import Event, Object, Ref
from deepseek_operator.engine.events import BURST, SERIES, Recorder
from deepseek_operator.engine.metrics import Metrics
from deepseek_operator.engine.pacing import EACH, Calm, Pacer

from tests.faults import virtual_time
from tests.faults.connection import Log, WorldApi
from tests.faults.virtual_time import now
from tests.faults.world import World
from tests.unit.engine.conftest import resource

HAPPENED = Event("Warning", "Happened", "it did", "Watch", Ref("Job", "team", "work"))


def events(world: World) -> Sequence[Object]:
    return [obj for ref, obj in world.objects.items() if ref.kind == "Event"]


def test_an_event_says_what_and_about_whom_and_repetitions_are_a_series() -> None:
    async def run() -> None:
        world = World()
        recorder = Recorder(WorldApi(world, Log()), Metrics(), now, Calm())
        task = asyncio.create_task(recorder.run())
        for _ in range(3):
            recorder.record(resource(), HAPPENED)
            await recorder.flush()
        (event,) = events(world)
        assert event["series"]["count"] == 3
        assert event["regarding"]["uid"] == "uid-seed"
        assert event["related"] == {"apiVersion": "batch/v1", "kind": "Job", "namespace": "team", "name": "work"}
        assert (event["type"], event["reason"], event["action"]) == ("Warning", "Happened", "Watch")
        world.delete(Ref.of(event))
        recorder.record(resource(), HAPPENED)
        await recorder.flush()
        assert len(events(world)) == 1, "one that the server has forgotten is told anew"
        await asyncio.sleep(SERIES + 1)
        recorder.record(resource(), HAPPENED)
        await recorder.flush()
        assert len(events(world)) == 2
        task.cancel()

    virtual_time.run(run())


def test_a_flood_is_cut_for_each_resource_alone() -> None:
    async def run() -> None:
        world, metrics = World(), Metrics()
        recorder = Recorder(WorldApi(world, Log()), metrics, now, Calm())
        task = asyncio.create_task(recorder.run())
        for number in range(100):
            recorder.record(resource(), Event("Normal", "Flood", str(number), "Flood"))
        recorder.record(resource("other"), HAPPENED)
        await recorder.flush()
        assert len(events(world)) == BURST + 1
        assert metrics.events_dropped._value.get() == 100 - BURST
        await asyncio.sleep(60)
        recorder.record(resource(), HAPPENED)
        await recorder.flush()
        assert len(events(world)) == BURST + 2
        task.cancel()

    virtual_time.run(run())


def test_thousands_of_resources_at_once_lose_no_event_and_each_tells_its_own_time() -> None:
    async def run() -> None:
        world, metrics = World(), Metrics()
        recorder = Recorder(WorldApi(world, Log()), metrics, now, Calm())
        happened = now().strftime("%Y-%m-%dT%H:%M:%S")
        for number in range(5000):
            recorder.record(resource(f"one-of-many-{number}"), HAPPENED)
        await asyncio.sleep(30)
        task = asyncio.create_task(recorder.run())
        await recorder.flush()
        assert len(events(world)) == 5000
        assert metrics.events_dropped._value.get() == 0
        assert all(event["eventTime"].startswith(happened) for event in events(world))
        task.cancel()

    virtual_time.run(run())


def test_a_lost_event_stops_nothing() -> None:
    async def run() -> None:
        world, metrics = World(), Metrics()
        recorder = Recorder(WorldApi(world, Log()), metrics, now, Calm())
        task = asyncio.create_task(recorder.run())

        def full(ref: Ref) -> None:
            from deepseek_operator.engine.errors import ForbiddenError

            raise ForbiddenError(403, "Forbidden", "quota")

        world.admission = full
        recorder.record(resource(), HAPPENED)
        await recorder.flush()
        world.admission = lambda _: None
        recorder.record(resource(), HAPPENED)
        await recorder.flush()
        assert len(events(world)) == 1
        task.cancel()

    virtual_time.run(run())


def test_live_figures_wait_their_turn() -> None:
    pacer = Pacer(100.0)
    assert pacer.delay("a", 101.0) == EACH - 1, "after a start nothing has been heard of the pods yet"
    assert pacer.delay("a", 100.0 + EACH) == 0.0
    assert pacer.delay("a", 101.0 + EACH) == EACH - 1
    assert 0 < pacer.delay("b", 100.0 + EACH) <= 0.05, "20 a second over all"
    assert pacer.delay("b", 100.1 + EACH) == 0.0
    pacer.written("c", 120.0)
    assert pacer.delay("c", 121.0) == EACH - 1


def test_a_note_is_cut_to_the_bytes_that_the_server_takes() -> None:
    async def run() -> None:
        world = World()
        recorder = Recorder(WorldApi(world, Log()), Metrics(), now, Calm())
        task = asyncio.create_task(recorder.run())
        recorder.record(resource(), replace(HAPPENED, note="模型" * 400))
        await recorder.flush()
        (event,) = events(world)
        assert len(event["note"].encode()) <= 1024
        assert event["note"] == ("模型" * 400)[: len(event["note"])]
        task.cancel()

    virtual_time.run(run())
