"""Bad resources among good ones: they fail for themselves alone, and the good ones take no longer."""

import asyncio
import statistics
from datetime import datetime

import pytest
from deepseek_operator.api.names import MODEL
from deepseek_operator.controllers.decision import Controller, Decision, Object, Observed, Ref, Settings
from deepseek_operator.engine import errors

from tests.faults import virtual_time
from tests.faults.connection import Log
from tests.faults.process import Process
from tests.faults.scenario import CONTROLLERS, SCRATCH, TENANT, resource
from tests.faults.simulators import Simulators
from tests.faults.world import World

MANY = 50
"""Good resources, and as many bad ones; in the long form a thousand."""
SLOWER = 1.2
KINDS = ("bug", "forbidden", "invalid", "image", "stalled")


class Bug:
    """The decision about some resources raises."""

    kind = MODEL

    def __init__(self, inner: Controller) -> None:
        self._inner = inner
        self.references = inner.references
        self.orphaned = inner.orphaned

    def decide(self, resource: Object, observed: Observed, now: datetime, settings: Settings) -> Decision:
        if resource["metadata"]["name"].startswith("bug"):
            raise KeyError("a bug")
        return self._inner.decide(resource, observed, now, settings)


class Kubelet(Simulators):
    """Some images cannot be pulled, and the pod's status goes back and forth for ever."""

    def _run(self, pod: Object) -> None:
        if not pod["metadata"]["name"].startswith("image"):
            super()._run(pod)
            return
        state = (pod["status"].get("containerStatuses") or [{}])[0].get("state", {}).get("waiting", {})
        reason = "ErrImagePull" if state.get("reason") == "ImagePullBackOff" else "ImagePullBackOff"
        waiting = {"name": "job", "ready": False, "state": {"waiting": {"reason": reason, "message": "not found"}}}
        self._status(pod, {"phase": "Pending", "containerStatuses": [waiting]})
        self._later(10.0, pod, self._run)


def refuse(ref: Ref) -> None:
    if ref.name.startswith("forbidden") and ref.kind in {"PersistentVolumeClaim", "Job"}:
        raise errors.ForbiddenError(403, "Forbidden", "exceeded quota")
    if ref.name.startswith("invalid") and ref.kind in {"PersistentVolumeClaim", "Job"}:
        raise errors.InvalidError(422, "Invalid", "spec: refused by a policy")


def models(prefix: str, many: int) -> list[Object]:
    config = {**SCRATCH, "config": {"hidden_size": 7}} if prefix == "stalled" else SCRATCH
    return [resource(Ref(MODEL, TENANT, f"{prefix}-{n}"), {"source": {"scratch": config}}) for n in range(many)]


async def waits(before: list[Object], beside: list[Object], good: list[Object]) -> tuple[list[float], World]:
    """Seconds from the creation of each good resource until it is ready; `before` is there already."""
    world = World()
    since: dict[str, float] = {}
    ready: dict[str, float] = {}
    loop = asyncio.get_running_loop()
    Kubelet(world)
    world.admission = refuse
    world.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TENANT}})

    def note(_: str, obj: Object) -> None:
        if obj["kind"] == MODEL and (obj.get("status") or {}).get("phase") == "Ready":
            ready.setdefault(obj["metadata"]["name"], loop.time())

    world.listeners.append(note)
    process = Process(world, Log(), {**CONTROLLERS, MODEL: Bug(CONTROLLERS[MODEL])})
    await process.start()
    for obj in before:
        world.create(obj)
    await asyncio.sleep(120)
    for one, other in zip(good, beside or good, strict=True):
        world.create(one)
        since[one["metadata"]["name"]] = loop.time()
        if beside:
            world.create(other)
    await asyncio.sleep(300)
    assert since.keys() <= ready.keys(), "every good one is ready"
    await process.end()
    return [ready[name] - start for name, start in since.items()], world


def slower(taken: list[float], than: list[float]) -> float:
    return max(max(taken) / max(than), statistics.mean(taken) / statistics.mean(than))


@pytest.fixture
def many(patience: int) -> int:
    return MANY * patience


def poison(many: int) -> list[Object]:
    return [obj for kind in KINDS for obj in models(kind, many // len(KINDS))]


def test_bad_ones_that_are_there_do_not_slow_good_ones(many: int) -> None:
    alone, _ = virtual_time.run(waits([], [], models("good", many)))
    among, world = virtual_time.run(waits(poison(many), [], models("good", many)))
    assert slower(among, alone) <= SLOWER
    phases = [
        obj["status"].get("phase") for ref, obj in world.objects.items() if ref.kind == MODEL and "good" not in ref.name
    ]
    assert "Ready" not in phases


def test_bad_ones_that_come_with_them_cost_no_more_than_as_many_good_ones(many: int) -> None:
    good, _ = virtual_time.run(waits([], models("more", many), models("good", many)))
    bad, _ = virtual_time.run(waits([], poison(many), models("good", many)))
    assert slower(bad, good) <= SLOWER
