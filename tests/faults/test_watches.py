"""Watches that lose, repeat and delay events: later, but the same end."""

import asyncio
from typing import Any

import pytest
from deepseek_operator.controllers.decision import Ref
from deepseek_operator.engine.sweep import PERIOD

from tests.faults import virtual_time
from tests.faults.conftest import Reference
from tests.faults.connection import Log
from tests.faults.oracles import assert_good_end
from tests.faults.process import WatchFaults
from tests.faults.scenario import MODEL_REF, life, rest

SEEDS = range(4)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "faults",
    [WatchFaults(repeated=0.5), WatchFaults(longest_delay=8.0), WatchFaults(repeated=0.3, longest_delay=3.0)],
    ids=["repeated", "delayed", "both"],
)
def test_the_end_is_the_same(reference: Reference, faults: WatchFaults, seed: int) -> None:
    async def run() -> None:
        log = Log()
        seeded = WatchFaults(seed, faults.lost, faults.repeated, faults.longest_delay)
        world, process = await life(log, seeded, step=PERIOD + 60)
        await assert_good_end(world, log, process)
        assert world.snapshot() == reference.end
        assert world.created == reference.created

    virtual_time.run(run())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("lost", [0.1, 0.3])
def test_lost_events_cost_time_and_at_most_a_job_that_finds_its_sealed_result(
    reference: Reference, lost: float, seed: int
) -> None:
    async def run() -> None:
        log = Log()
        world, process = await life(log, WatchFaults(seed, lost, 0.2, 1.0), step=PERIOD + 60)
        await assert_good_end(world, log, process)
        assert _without_jobs(world.snapshot()) == _without_jobs(reference.end)
        made = {ref: count for ref, count in world.created.items() if ref.kind != "Job"}
        assert made == {ref: count for ref, count in reference.created.items() if ref.kind != "Job"}
        assert set(world.created.values()) == {1}

    virtual_time.run(run())


def _without_jobs(state: dict[str, Any]) -> dict[str, Any]:
    return {name: obj for name, obj in state.items() if not name.startswith("Job/")}


def test_a_deletion_in_the_gap_of_a_watch_is_found_by_the_sweep() -> None:
    async def run() -> None:
        log = Log()
        world, process = await life(log)
        unheard = world.listeners
        world.listeners = []
        ghosts = [ref for ref in world.objects if ref.kind == "Job"]
        for ref in ghosts:
            world.delete(ref)
        world.listeners = unheard
        assert all(process.store.get(ref) is not None for ref in ghosts)
        await asyncio.sleep(PERIOD + 60)
        assert [ref for ref in ghosts if process.store.get(ref) is not None] == []
        process = await rest(world, log, process)
        assert not any(ref.kind == "Job" for ref in world.objects), "what is sealed is not computed again"
        await assert_good_end(world, log, process)

    virtual_time.run(run())


def test_an_old_view_removes_nothing_new() -> None:
    """The store still shows a resource and its children that are gone and made anew under the same names."""

    async def run() -> None:
        log = Log()
        world, process = await life(log)
        unheard = world.listeners
        world.listeners = [listener for listener in unheard if listener != process._on_event]
        new = {key: value for key, value in world.objects[MODEL_REF].items() if key != "status"}
        world.delete(MODEL_REF)
        await asyncio.sleep(5)
        world.create({**new, "metadata": {"name": MODEL_REF.name, "namespace": MODEL_REF.namespace}})
        before = {ref: obj["metadata"]["uid"] for ref, obj in world.objects.items()}
        process.queue.add(MODEL_REF)
        await asyncio.sleep(PERIOD - 60)
        kept = {ref: uid for ref, uid in before.items() if ref.kind != "Event"}
        assert kept.items() <= {ref: obj["metadata"]["uid"] for ref, obj in world.objects.items()}.items()
        world.listeners = unheard
        process = await rest(world, log, process, step=PERIOD + 60)
        assert world.objects[MODEL_REF]["status"]["phase"] == "Ready"
        await assert_good_end(world, log, process)

    virtual_time.run(run())


def test_a_late_answer_brings_nothing_back_that_is_gone() -> None:
    async def run() -> None:
        log = Log()
        world, process = await life(log)
        late = dict(world.objects[MODEL_REF])
        world.delete(MODEL_REF)
        await asyncio.sleep(1)
        process.store.put(late)
        assert process.store.get(MODEL_REF) is None
        assert process.store.children(Ref("DeepSeekModel", "team", "seed")) == []
        await process.end()

    virtual_time.run(run())
