"""What a service says of its pods: those of what is wanted now, not those of before."""

from typing import Any

import pytest
from deepseek_operator.api.names import SERVICE
from deepseek_operator.controllers.decision import Object, Ref
from deepseek_runtime.wire.result import JobResult, encode
from deepseek_runtime.wire.serve import ServeConfig

from tests.unit.controllers import world as worlds
from tests.unit.controllers.builders import NAMESPACE, Builder, scratch, service
from tests.unit.controllers.results import result_of
from tests.unit.controllers.world import World

CHAT = Ref(SERVICE, NAMESPACE, "chat")
REFUSED = encode(JobResult(kind="serve", identity="", outcome="failed", reason="InvalidConfig", message="2 GPUs."))
CRASHED = {
    "phase": "Running",
    "containerStatuses": [
        {
            "ready": False,
            "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
            "lastState": {"terminated": {"exitCode": 64, "message": REFUSED, "finishedAt": "2030-01-01T00:00:10Z"}},
        }
    ],
}
LOADING = {"phase": "Running", "containerStatuses": [{"ready": False, "state": {"running": {}}}]}
SHUT_DOWN = {"phase": "Succeeded"}
EVICTED = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}


def made(world: World, template: str, at: str, status: Object) -> Object:
    """A pod of the service, of a template and a moment."""
    pod = world._new_pod(world.of_kind("Deployment")[0])
    pod["metadata"]["labels"]["pod-template-hash"] = template
    pod["metadata"]["creationTimestamp"] = at
    pod["status"] = status
    return pod


def rolling(world: World, **status: Any) -> tuple[str, str, str]:
    """The service's phase, and what its Ready says, while its Deployment has this status."""
    (deployment,) = world.of_kind("Deployment")
    deployment["status"] = {"observedGeneration": deployment["metadata"]["generation"], **status}
    world.reconcile(CHAT)
    ready = world.condition(SERVICE, "chat", "Ready")
    assert ready is not None
    return world.status(SERVICE, "chat")["phase"], ready[0], ready[1]


def changed(world: World, to: Builder) -> None:
    """Another spec, decided about once."""
    world.apply(to)
    world.reconcile(CHAT)


def test_pods_of_before_do_not_speak_for_what_has_been_repaired() -> None:
    world = World().apply(scratch(), service())
    world.engines_start = False
    world.settle()
    made(world, "first", "2030-01-01T00:00:00Z", CRASHED)
    assert rolling(world, replicas=1, updatedReplicas=1, readyReplicas=0) == ("Failed", "False", "InvalidConfig")
    changed(world, service().having("engine.maxSequences", 8))
    assert rolling(world, replicas=1, updatedReplicas=0, readyReplicas=0)[0] == "Starting"
    new = made(world, "second", "2030-01-01T00:01:00Z", LOADING)
    assert rolling(world, replicas=2, updatedReplicas=1, readyReplicas=0) == ("Starting", "False", "Starting")
    made(world, "first", "2030-01-01T00:02:00Z", EVICTED)  # its ReplicaSet goes on while the new pod loads
    assert rolling(world, replicas=2, updatedReplicas=1, readyReplicas=0) == ("Starting", "False", "Starting")
    new["status"] = CRASHED
    assert rolling(world, replicas=2, updatedReplicas=1, readyReplicas=0) == ("Failed", "False", "InvalidConfig")


@pytest.mark.parametrize(
    ("over", "at", "expected"),
    [
        (EVICTED, "2030-01-01T00:00:00Z", ("RollingOut", "True", "RollingOut")),
        (EVICTED, "2030-01-01T00:09:00Z", ("Starting", "False", "OutOfMemory")),
        (SHUT_DOWN, "2030-01-01T00:00:00Z", ("RollingOut", "True", "RollingOut")),
        (SHUT_DOWN, "2030-01-01T00:09:00Z", ("Starting", "False", "Crashed")),
    ],
)
def test_a_pod_that_is_over_counts_until_a_later_one_is_ready(
    over: Object, at: str, expected: tuple[str, str, str]
) -> None:
    world = World().apply(scratch(), service()).settle()
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    made(world, "first", "2030-01-01T00:05:00Z", {**ready, "containerStatuses": [{"ready": True, "state": {}}]})
    made(world, "first", at, over)
    changed(world, service().having("replicas", 2))
    assert rolling(world, replicas=2, updatedReplicas=2, readyReplicas=1) == expected


def test_a_revision_that_is_kept_fits_the_cache_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def long(*told: Any) -> JobResult:
        found = result_of(*told)
        if found.artifact is None or found.artifact.architecture is None:
            return found
        architecture = found.artifact.architecture.model_copy(update={"context_length": 8192})
        return found.model_copy(update={"artifact": found.artifact.model_copy(update={"architecture": architecture})})

    monkeypatch.setattr(worlds, "result_of", long)
    world = World().apply(scratch(), service()).settle()
    world.held = {"quantize"}
    world.apply(scratch().variant("int8"))
    changed(world, service(variant="int8").having("engine.cacheTokens", 1024))
    container = world.of_kind("Deployment")[0]["spec"]["template"]["spec"]["containers"][0]
    (told,) = [each["value"] for each in container["env"] if each["name"] == "DEEPSEEK_SERVE"]
    serve = ServeConfig.model_validate_json(told)
    assert (serve.context_length, serve.cache_tokens) == (1024, 1024)
