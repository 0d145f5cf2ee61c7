"""Watches that lose, repeat and delay events: later, but the same end."""

import asyncio
import dataclasses

import pytest
from deepseek_operator.api.names import PLURALS, Label
from deepseek_operator.controllers.decision import Ref
from deepseek_operator.engine.sweep import PERIOD

from tests.faults import virtual_time
from tests.faults.conftest import Reference
from tests.faults.connection import Log
from tests.faults.oracles import assert_good_end, without_jobs
from tests.faults.process import WatchFaults
from tests.faults.scenario import MODEL_REF, RUN_REF, cached, life, rest


@pytest.mark.parametrize(
    "faults",
    [
        WatchFaults(repeated=0.5),
        WatchFaults(longest_delay=8.0),
        WatchFaults(repeated=0.3, longest_delay=3.0),
        WatchFaults(repeated=0.3, longest_delay=3.0, reordered=True),
    ],
    ids=["repeated", "delayed", "both", "reordered"],
)
def test_the_end_is_the_same(reference: Reference, faults: WatchFaults, seed: int) -> None:
    async def run() -> None:
        log = Log()
        seeded = dataclasses.replace(faults, seed=seed)
        world, process = await life(log, seeded, step=PERIOD + 60)
        await assert_good_end(world, log, process)
        assert world.snapshot() == reference.end
        assert world.created == reference.created

    virtual_time.run(run(), seed)


@pytest.mark.parametrize("lost", [0.1, 0.3])
def test_lost_events_cost_time_and_at_most_a_job_that_finds_its_sealed_result(
    reference: Reference, lost: float, seed: int
) -> None:
    async def run() -> None:
        log = Log()
        world, process = await life(log, WatchFaults(seed, lost, 0.2, 1.0), step=PERIOD + 60)
        await assert_good_end(world, log, process)
        assert without_jobs(world.snapshot()) == without_jobs(reference.end)
        made = {ref: count for ref, count in world.created.items() if ref.kind != "Job"}
        assert made == {ref: count for ref, count in reference.created.items() if ref.kind != "Job"}
        assert set(world.created.values()) == {1}

    virtual_time.run(run(), seed)


@pytest.mark.parametrize(
    "kind",
    [
        *PLURALS,
        "Job",
        "PersistentVolumeClaim",
        "Pod",
        "Deployment",
        "DaemonSet",
        "Service",
        "NetworkPolicy",
        "ConfigMap",
    ],
)
def test_a_deletion_in_the_gap_of_a_watch_is_found_when_it_is_listed_again(kind: str) -> None:
    async def run() -> None:
        log = Log()
        world, process = await life(log, objects=cached() if kind == "DaemonSet" else None)
        ghosts = {ref: obj["metadata"]["uid"] for ref, obj in world.objects.items() if ref.kind == kind}
        with process.gap(kind):
            for ref in ghosts:
                world.patch(ref, {"metadata": {"finalizers": None}})
                world.delete(ref)
        assert ghosts.items() <= process.store.uids(kind).items()
        writes = len(log.writes)
        await asyncio.sleep(5)
        assert ghosts.items().isdisjoint(process.store.uids(kind).items())
        process = await rest(world, log, process)
        assert len(log.writes) - writes < 40, "nothing is made for long for what is gone"
        assert ghosts.items().isdisjoint(process.store.uids(kind).items())
        assert process.store.uids(kind) == {
            ref: obj["metadata"]["uid"] for ref, obj in world.objects.items() if ref.kind == kind
        }
        if kind == "Job":
            assert not any(ref.kind == "Job" for ref in world.objects), "what is sealed is not computed again"
        elif kind in PLURALS:
            gone = {ref.name for ref in ghosts}
            left = [
                ref
                for ref, obj in world.objects.items()
                if (labels := obj["metadata"].get("labels", {})).get(Label.OWNER_KIND) == kind
                and labels[Label.OWNER_NAME] in gone
            ]
            assert left == [], "what the resource had goes with it, in the operator's namespace as well"
        elif kind not in {"Pod", "PersistentVolumeClaim"}:
            needed = [ref for ref in ghosts if ref.name != f"run-{RUN_REF.name}"]  # of a run that is complete
            assert [ref for ref in needed if ref not in world.objects] == [], "it is made again"
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
