"""What must hold at the end of every run, whatever has gone wrong in it."""

from typing import Any

from deepseek_operator.api.names import API_VERSION, MANAGED_BY, PLURALS, Label
from deepseek_operator.controllers.decision import Ref

from tests.faults.connection import Log
from tests.faults.process import Process, settle
from tests.faults.scenario import CONTROLLERS, PUBLISHED_REF
from tests.faults.world import World


def assert_owned(world: World) -> None:
    """Every object that the operator made goes with its owner, or, across namespaces, names it."""
    for ref, obj in world.objects.items():
        labels = obj["metadata"].get("labels") or {}
        if labels.get(Label.MANAGED_BY) != MANAGED_BY or ref.kind == "Pod" or ref == PUBLISHED_REF:
            continue
        owner = world.objects[Ref(labels[Label.OWNER_KIND], labels[Label.OWNER_NAMESPACE], labels[Label.OWNER_NAME])]
        assert labels[Label.OWNER_UID] == owner["metadata"]["uid"], ref
        if ref.namespace == owner["metadata"]["namespace"]:
            (reference,) = obj["metadata"]["ownerReferences"]
            assert reference["controller"], ref
            assert (reference["apiVersion"], reference["uid"]) == (API_VERSION, owner["metadata"]["uid"]), ref


def assert_generations(world: World) -> None:
    """A status speaks of a generation that there is."""
    for ref, obj in world.objects.items():
        if ref.kind in PLURALS:
            assert obj["status"]["observedGeneration"] <= obj["metadata"]["generation"], ref


async def assert_at_rest(world: World, log: Log, process: Process) -> None:
    """Looking at everything again writes nothing, and neither does a restart with empty memory."""
    writes, changes = len(log.writes), world.changes
    for owner in process.store.owners():
        process.queue.add(owner)
    process = await settle(world, log, CONTROLLERS, process)
    assert log.writes[writes:] == []
    await process.end()
    assert process.panics() == 0
    process = Process(world, log, CONTROLLERS)
    await process.start()
    process = await settle(world, log, CONTROLLERS, process)
    assert log.writes[writes:] == []
    assert world.changes == changes
    await process.end()
    assert process.panics() == 0


async def assert_good_end(world: World, log: Log, process: Process) -> None:
    """All of it."""
    await assert_at_rest(world, log, process)
    assert_owned(world)
    assert_generations(world)
    assert world.leaks == []


def without_jobs(state: dict[str, Any]) -> dict[str, Any]:
    """A snapshot without Jobs, which may be made again to find what is sealed, and without what they cost."""
    return {name: _without_cost(obj) for name, obj in state.items() if not name.startswith("Job/")}


def _without_cost(obj: Any) -> Any:
    if not isinstance(obj, dict) or "status" not in obj:
        return obj
    return {**obj, "status": {name: value for name, value in obj["status"].items() if name != "cost"}}
