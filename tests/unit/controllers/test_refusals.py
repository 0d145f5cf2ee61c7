"""What cannot be is said at once, with numbers and with what can be; and no pod is started for it."""

from datetime import timedelta
from typing import Any

import pytest
from deepseek_operator.api.names import MODEL, SERVICE, TRAINING
from deepseek_operator.controllers.decision import Ref, Unreachable
from deepseek_runtime.wire.progress import Progress

from tests.unit.controllers.builders import NAMESPACE, Builder, run, scratch, service, trained
from tests.unit.controllers.world import World


def stalled(kind: str, name: str, world: World) -> tuple[str, str]:
    found = world.condition(kind, name, "Stalled")
    assert found is not None, world.status(kind, name)
    assert found == world.condition(kind, name, "Stalled")
    ready = world.condition(kind, name, "Ready")
    assert ready is not None
    assert ready[0] == "False"
    assert world.condition(kind, name, "Reconciling") is None
    return found[1], found[2]


def test_an_impossible_size() -> None:
    world = World().apply(scratch(hidden_size=16384, num_hidden_layers=80, n_routed_experts=256)).settle()
    reason, message = stalled(MODEL, "seed", world)
    assert reason == "StorageTooSmall"
    assert "storage.size is 1Gi" in message
    assert "GiB" in message
    assert world.of_kind("Job") == world.of_kind("PersistentVolumeClaim") == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("source.scratch.config", {"hiden_size": 64}, "hiden_size"),
        ("source.scratch.architecture", "Mamba", "spec.source.scratch.architecture"),
        ("storage", {"size": "lots"}, "spec.storage.size"),
        ("source", {}, "source must have one of"),
    ],
)
def test_a_model_that_cannot_be_read(path: str, value: Any, said: str) -> None:
    world = World().apply(scratch().having(path, value)).settle()
    reason, message = stalled(MODEL, "seed", world)
    assert reason == "InvalidConfig"
    assert said in message
    assert world.of_kind("Job") == []
    world.apply(scratch()).settle()
    assert world.condition(MODEL, "seed", "Ready")[0] == "True"  # type: ignore[index]


@pytest.mark.parametrize("resource", [run().having("stages", []), service().having("replicas", "many")])
def test_other_resources_that_cannot_be_read(resource: Builder) -> None:
    world = World().apply(resource).settle()
    assert stalled(resource.kind, resource.name, world)[0] == "InvalidConfig"


@pytest.mark.parametrize(
    ("change", "reason", "said"),
    [
        (service(tensor=3), "HeadsNotDivisible", "over parallelism.tensor 3; it can be 1, 2, 4."),
        (service().having("engine.contextLength", 300), "ContextTooLong", "Set it to 256 or less"),
        (service(variant="int4"), "VariantNotFound", "has no variant int4; it has int8"),
    ],
)
def test_a_service_that_cannot_be(change: Builder, reason: str, said: str) -> None:
    world = World().apply(scratch().variant("int8"), change).settle()
    found, message = stalled(SERVICE, "chat", world)
    assert found == reason
    assert said in message
    assert world.of_kind("Deployment") == []


def test_what_answers_goes_on_when_the_spec_becomes_impossible() -> None:
    world = World().apply(scratch(), service()).settle()
    (before,) = [deployment["spec"]["template"] for deployment in world.of_kind("Deployment")]
    world.apply(service(tensor=3)).settle()
    assert world.condition(SERVICE, "chat", "Ready")[0] == "True"  # type: ignore[index]
    assert world.condition(SERVICE, "chat", "Stalled")[1] == "HeadsNotDivisible"  # type: ignore[index]
    assert world.of_kind("Deployment")[0]["spec"]["template"] == before


@pytest.mark.parametrize(
    ("resource", "reason", "said"),
    [
        (trained(run="nobody"), "TrainingRunNotFound", "nobody"),
        (run(base="nobody"), "ModelNotFound", "nobody"),
        (service(model="nobody"), "ModelNotFound", "nobody"),
    ],
)
def test_what_is_missing_is_waited_for_and_named(resource: Builder, reason: str, said: str) -> None:
    world = World().apply(resource).settle()
    found = world.condition(resource.kind, resource.name, "Reconciling")
    assert found is not None
    assert found[1] == reason
    assert said in found[2]


def test_a_stage_that_the_run_lacks() -> None:
    world = World().apply(scratch(), run(), trained(stage="sft")).settle()
    reason, message = stalled(MODEL, "handbook", world)
    assert reason == "StageNotFound"
    assert "it has pretrain" in message


def test_a_volume_too_small_for_the_checkpoints() -> None:
    small = run().having("checkpoint", {"storage": {"size": "16Mi"}})
    world = World().apply(scratch(), small).settle()
    reason, message = stalled(TRAINING, "pretrain", world)
    assert reason == "StorageTooSmall"
    assert "checkpoint.storage.size" in message
    assert world.jobs("train") == []


def test_progress_is_shown_and_silence_is_told_but_never_a_failure() -> None:
    world = World().apply(scratch()).settle()
    world.held = {"train"}
    world.apply(run()).settle()
    (pod,) = [pod for pod in world.of_kind("Pod") if pod["status"]["phase"] == "Running"]
    ref, name = Ref(TRAINING, NAMESPACE, "pretrain"), pod["metadata"]["name"]
    identity = world.status(TRAINING, "pretrain")["stages"][0]["identity"]
    world.progress[name] = Progress(
        identity=identity,
        phase="step",
        unit="step",
        done=10,
        total=40,
        remaining_seconds=200.4,
        checkpoint_step=8,
    )
    world.reconcile(ref)
    status = world.status(TRAINING, "pretrain")
    assert status["percent"] == 25
    assert (status["progress"]["remaining"], status["progress"]["percent"]) == ("3m20s", 25)
    assert (status["stages"][0]["step"], status["stages"][0]["checkpointStep"]) == (10, 8)
    observed_silence = Unreachable(world.now, "connection refused")
    world.progress[name] = observed_silence  # type: ignore[assignment]
    assert world.decide(ref).wake_after == 30
    assert world.condition(TRAINING, "pretrain", "ProgressReachable") is None
    world.now += timedelta(seconds=31)
    world.reconcile(ref)
    assert world.condition(TRAINING, "pretrain", "ProgressReachable")[:2] == ("False", "Unreachable")  # type: ignore[index]
    assert world.status(TRAINING, "pretrain")["phase"] == "Training"
    assert world.status(TRAINING, "pretrain")["stages"][0]["step"] == 10, "the last figure stays"
    assert "lastFailure" not in world.status(TRAINING, "pretrain")
