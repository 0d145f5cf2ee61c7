"""Deletion, lost memories, foreign objects, refusals and bugs."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from deepseek_operator.api.names import MODEL, Annotation, Condition, Reason
from deepseek_operator.controllers.decision import Controller, Decision, Object, Observed, Ref, Settings
from deepseek_operator.engine import errors

from tests.faults import virtual_time
from tests.faults.conftest import Reference
from tests.faults.connection import Log
from tests.faults.merge import copied
from tests.faults.oracles import assert_good_end
from tests.faults.process import Process, settle
from tests.faults.scenario import (
    CONTROLLERS,
    MODEL_REF,
    PUBLISHED_REF,
    RUN_REF,
    SERVICE_REF,
    TENANT,
    life,
    quickstart,
    rest,
)
from tests.faults.simulators import Simulators
from tests.faults.world import World


def test_everything_goes_when_the_resources_go() -> None:
    async def run() -> None:
        log = Log()
        world, process = await life(log)
        for ref in (PUBLISHED_REF, MODEL_REF, RUN_REF, SERVICE_REF):
            world.delete(ref)
        process = await rest(world, log, process)
        assert [ref for ref in world.objects if ref.kind not in {"Event", "Namespace"}] == []
        await assert_good_end(world, log, process)

    virtual_time.run(run())


def test_what_is_left_in_another_namespace_goes_though_nobody_saw_the_deletion() -> None:
    async def run() -> None:
        log = Log()
        world, process = await life(log)
        await process.end()
        for ref in (SERVICE_REF, RUN_REF, PUBLISHED_REF, MODEL_REF):
            world.patch(ref, {"metadata": {"finalizers": None}})
            world.delete(ref)
        await asyncio.sleep(5)
        process = Process(world, log, CONTROLLERS)
        await process.start()
        process = await rest(world, log, process)
        assert [ref for ref in world.objects if ref.kind not in {"Event", "Namespace"}] == []
        await process.end()

    virtual_time.run(run())


def test_without_statuses_and_jobs_the_end_is_the_same(reference: Reference) -> None:
    """The Jobs run again, and find their sealed results; no volume is made anew."""

    async def run() -> None:
        log = Log()
        world, process = await life(log)
        volumes = {ref: obj["metadata"]["uid"] for ref, obj in world.objects.items() if "Volume" in ref.kind}
        await process.end()
        for ref in list(world.objects):
            if ref.kind == "Job":
                world.delete(ref)
        for ref in (MODEL_REF, RUN_REF, PUBLISHED_REF, SERVICE_REF):
            world.set_status(ref, {"observedGeneration": -1})
        await asyncio.sleep(5)
        process = Process(world, log, CONTROLLERS)
        await process.start()
        process = await rest(world, log, process)
        await assert_good_end(world, log, process)
        assert _without_templates(world.snapshot()) == _without_templates(reference.end)
        assert volumes == {ref: obj["metadata"]["uid"] for ref, obj in world.objects.items() if "Volume" in ref.kind}

    virtual_time.run(run())


def test_an_object_of_somebody_else_is_left_as_it_is_and_named() -> None:
    async def run() -> None:
        log = Log()
        reference_world, process = await life(log)
        await process.end()
        names = [ref for ref in reference_world.created if ref.kind in {"Job", "Service"} and ref.namespace == TENANT]
        for taken in names[:1] + [ref for ref in names if (ref.kind, ref.name) == ("Service", SERVICE_REF.name)]:
            world = World()
            Simulators(world)
            foreign = {
                "apiVersion": "v1",
                "kind": taken.kind,
                "metadata": {"name": taken.name, "namespace": taken.namespace},
                "spec": {"suspend": True, "template": {}},
            }
            world.create(foreign)
            before = dict(world.objects[taken])
            for obj in quickstart():
                world.create(obj)
            process = Process(world, log, CONTROLLERS)
            await process.start()
            await asyncio.sleep(300)
            assert world.objects[taken] == before
            told = [obj for obj in world.objects.values() if _condition(obj, Condition.STALLED) == Reason.NAME_TAKEN]
            assert len(told) == 1
            assert taken.name in told[0]["status"]["lastFailure"]["component"]
            assert len(log.writes) < 400, "no hot loop"
            world.delete(taken)
            process = await settle(world, log, CONTROLLERS, process)
            assert _condition(world.objects[Ref.of(told[0])], Condition.STALLED) is None
            await assert_good_end(world, log, process)

    virtual_time.run(run())


def test_a_terminating_namespace_makes_no_hot_loop() -> None:
    async def run() -> None:
        log, world = Log(), World()
        Simulators(world)
        for obj in quickstart():
            world.create(obj)

        def terminating(ref: Ref) -> None:
            details = {"causes": [{"reason": "NamespaceTerminating"}]}
            raise errors.ForbiddenError(403, "Forbidden", f"namespace {ref.namespace} is terminating", None, details)

        world.admission = terminating
        process = Process(world, log, CONTROLLERS)
        await process.start()
        await asyncio.sleep(600)
        attempts = [write for write in log.writes if write[0] == "create"]
        assert 0 < len(attempts) < 60
        assert world.created == {}
        await process.end()

    virtual_time.run(run())


def test_a_bug_in_one_decision_stops_no_other(reference: Reference) -> None:
    class Broken:
        kind = MODEL

        def __init__(self, inner: Controller) -> None:
            self._inner = inner
            self.references = inner.references
            self.orphaned = inner.orphaned
            self.broken = True

        def decide(self, resource: Object, observed: Observed, now: datetime, settings: Settings) -> Decision:
            if self.broken and resource["metadata"]["name"] == "broken":
                raise KeyError("a bug")
            return self._inner.decide(resource, observed, now, settings)

    async def run() -> None:
        log, world = Log(), World()
        Simulators(world)
        broken = Broken(CONTROLLERS[MODEL])
        controllers: Mapping[str, Controller] = {**CONTROLLERS, MODEL: broken}
        seed = quickstart()[0]
        world.create({**seed, "metadata": {"name": "broken", "namespace": TENANT}})
        for obj in quickstart():
            world.create(obj)
        process = Process(world, log, controllers)
        await process.start()
        await asyncio.sleep(300)
        assert world.objects[PUBLISHED_REF]["status"]["phase"] == "Ready"
        assert 5 < process.panics() < 20, "with a backoff"
        broken.broken = False
        await asyncio.sleep(300)
        assert world.objects[Ref(MODEL, TENANT, "broken")]["status"]["phase"] == "Ready"
        await process.end()

    virtual_time.run(run())


def _full(ref: Ref) -> None:
    """A quota that lets no volume through."""
    if ref.kind == "PersistentVolumeClaim":
        raise errors.ForbiddenError(403, "Forbidden", "exceeded quota: storage")


def test_a_quota_is_told_and_passes() -> None:
    async def run() -> None:
        log, world = Log(), World()
        Simulators(world)

        world.admission = _full
        for obj in quickstart():
            world.create(obj)
        process = Process(world, log, CONTROLLERS)
        await process.start()
        await asyncio.sleep(10)
        status = world.objects[MODEL_REF]["status"]
        assert _condition(world.objects[MODEL_REF], Condition.STALLED) == Reason.QUOTA_EXCEEDED
        assert "exceeded quota" in status["lastFailure"]["message"]
        written = len([write for write in log.writes if write == ("apply status", MODEL_REF)])
        await asyncio.sleep(600)
        assert len([write for write in log.writes if write == ("apply status", MODEL_REF)]) <= written + 2
        world.admission = lambda _: None
        process = await rest(world, log, process)
        assert world.objects[PUBLISHED_REF]["status"]["phase"] == "Ready"
        await assert_good_end(world, log, process)

    virtual_time.run(run())


def test_the_annotation_has_a_resource_looked_at_now() -> None:
    """What is refused is tried again ever more rarely; whoever has mended the cause need not wait."""

    async def run() -> None:
        log, world = Log(), World()
        Simulators(world)

        world.admission = _full
        world.create(quickstart()[0])
        process = Process(world, log, CONTROLLERS)
        await process.start()
        await asyncio.sleep(1000)
        tried = len(log.writes)
        while len(log.writes) == tried:  # noqa: ASYNC110 time is virtual
            await asyncio.sleep(1)
        await asyncio.sleep(5)
        world.admission = lambda _: None
        tried = len(log.writes)
        await asyncio.sleep(60)
        assert len(log.writes) == tried, "the backoff is long by now"
        world.patch(MODEL_REF, {"metadata": {"annotations": {Annotation.RECONCILE: "now"}}})
        await asyncio.sleep(1)
        assert any(ref.kind == "PersistentVolumeClaim" for ref in world.objects)
        process = await rest(world, log, process)
        await assert_good_end(world, log, process)

    virtual_time.run(run())


def _without_templates(snapshot: dict[str, Any]) -> dict[str, Any]:
    """All but what a Job mounts: a publication that is looked at before its run reads its own volume alone."""
    for obj in (kept := copied(snapshot)).values():
        if obj["kind"] == "Job":
            del obj["spec"], obj["metadata"]["annotations"]
    return kept


def _condition(obj: Object, kind: str) -> str | None:
    """The reason of a condition that is true."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((item["reason"] for item in conditions if item["type"] == kind and item["status"] == "True"), None)
