"""What runs comes first, of all resources; what tells of it follows in a moment, once, and never more than a while."""

import asyncio
from collections import Counter
from datetime import datetime
from itertools import count

import pytest
from deepseek_operator.api.names import API_VERSION, MANAGED_BY, MODEL, Label
from deepseek_operator.controllers.decision import Child, Decision, Object, Observed, Ref, Remove, Settings
from deepseek_operator.engine.pacing import PATIENCE, QUIET

from tests.faults import connection, virtual_time
from tests.faults.connection import LATENCY, Log
from tests.faults.process import Process
from tests.faults.world import World

TEAM = "team"


def model(name: str) -> Object:
    return {"apiVersion": API_VERSION, "kind": MODEL, "metadata": {"name": name, "namespace": TEAM}, "spec": {}}


class Maker:
    """Wants a Deployment, and a Service that follows; the status says which of them are seen."""

    kind = MODEL

    def references(self, resource: Object) -> frozenset[Ref]:
        return frozenset()

    def orphaned(self, ref: Ref, observed: Observed) -> tuple[Remove, ...]:
        return ()

    def decide(self, resource: Object, observed: Observed, now: datetime, settings: Settings) -> Decision:
        children = (
            Child(_child(resource, "Deployment", {"replicas": 1})),
            Child(_child(resource, "Service", {"clusterIP": "None"}), follows=True),
        )
        seen = sorted(obj["kind"] for obj in observed.children)
        return Decision(children, status={"observedGeneration": resource["metadata"]["generation"], "seen": seen})


def _child(owner: Object, kind: str, spec: Object) -> Object:
    meta = owner["metadata"]
    labels = {
        Label.MANAGED_BY: MANAGED_BY,
        Label.OWNER_KIND: owner["kind"],
        Label.OWNER_NAME: meta["name"],
        Label.OWNER_NAMESPACE: TEAM,
        Label.OWNER_UID: meta["uid"],
    }
    version = {"Deployment": "apps/v1", "Service": "v1"}[kind]
    meta = {"name": meta["name"], "namespace": TEAM, "labels": labels}
    return {"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec}


async def started(world: World, log: Log) -> Process:
    process = Process(world, log, {MODEL: Maker()})
    await process.start()
    await asyncio.sleep(1)
    log.writes.clear()
    log.times.clear()
    return process


def test_a_status_is_written_once_and_tells_of_all_children() -> None:
    async def run() -> None:
        world, log = World(), Log()
        process = await started(world, log)
        world.create(model("one"))
        await asyncio.sleep(PATIENCE)
        assert [ref.kind for _, ref in log.writes] == ["Deployment", "Service", MODEL]
        assert log.times[-1] - log.times[0] < 2 * QUIET
        assert world.get(Ref(MODEL, TEAM, "one"))["status"]["seen"] == ["Deployment", "Service"]
        (event,) = (obj for ref, obj in world.objects.items() if ref.kind == "Event")
        assert event["note"] == "create Deployment/one, Service/one"
        await process.end()

    virtual_time.run(run())


def test_in_a_burst_all_that_runs_comes_before_all_that_follows_and_that_before_statuses() -> None:
    async def run() -> None:
        world, log = World(), Log()
        process = await started(world, log)
        for number in range(50):
            world.create(model(f"model-{number}"))
            await asyncio.sleep(LATENCY)
        await asyncio.sleep(2 * PATIENCE)
        kinds = [ref.kind for _, ref in log.writes]
        assert [kinds.count(kind) for kind in ("Deployment", "Service", MODEL)] == [50, 50, 50]
        last = max(at for at, kind in enumerate(kinds) if kind == "Deployment")
        assert kinds[: last + 1].count("Service") <= 5, "the first had come alone"
        assert MODEL not in kinds[: last + 1]
        await process.end()

    virtual_time.run(run())


def test_a_status_is_written_once_however_late_its_last_child_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is so slow that each waits its turn for longer than its patience."""
    monkeypatch.setattr(connection, "LATENCY", 0.05)

    async def run() -> None:
        world, log = World(), Log()
        process = await started(world, log)
        for number in range(200):
            world.create(model(f"model-{number}"))
        await asyncio.sleep(20 * PATIENCE)
        statuses = Counter(ref for _, ref in log.writes if ref.kind == MODEL)
        assert set(statuses.values()) == {1}
        assert len(statuses) == 200
        await process.end()

    virtual_time.run(run())


@pytest.mark.parametrize("kind", ["Deployment", "Service"])
def test_what_is_disturbed_for_ever_is_told_of_all_the_same(kind: str) -> None:
    """Another controller deletes a child whenever it is made."""

    async def run() -> None:
        world, log = World(), Log()
        process = await started(world, log)
        world.create(model("one"))
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in count():
            await asyncio.sleep(QUIET / 2)
            if Ref(kind, TEAM, "one") in world.objects:
                world.delete(Ref(kind, TEAM, "one"))
            if "seen" in world.get(Ref(MODEL, TEAM, "one"))["status"]:
                break
        assert loop.time() - began < 3 * PATIENCE
        await process.end()

    virtual_time.run(run())
