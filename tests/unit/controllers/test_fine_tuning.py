"""A run that pretrains and then fine-tunes: what each stage is told, and what is shown of epochs."""

import json
from typing import Any

from deepseek_operator.api.names import TRAINING
from deepseek_operator.controllers.decision import Ref
from deepseek_runtime.wire.progress import Examples, Progress

from tests.unit.controllers.builders import NAMESPACE, run, scratch
from tests.unit.controllers.world import World

RUN = Ref(TRAINING, NAMESPACE, "pretrain")
SFT = {
    "name": "sft",
    "type": "sft",
    "data": [{"configMap": {"name": "answers", "key": "train.jsonl"}}],
    "hyperparameters": {"batchSize": 4},
    "until": {"epochs": 3},
}


def both_stages(world: World) -> World:
    wanted = run()
    wanted.spec["stages"].append(SFT)
    return world.apply(scratch(), wanted)


def told(world: World, stage: str) -> dict[str, Any]:
    """The document that a stage's Job was given."""
    for job in world.jobs("train"):
        environment = job["spec"]["template"]["spec"]["containers"][0]["env"]
        for variable in environment:
            if variable["value"].startswith("{") and (found := json.loads(variable["value"]))["stage"] == stage:
                return dict(found)
    raise AssertionError(f"no Job for stage {stage}")


def test_each_stage_learns_with_what_suits_its_type() -> None:
    world = both_stages(World()).settle()
    assert world.computed == ["build base", "train pretrain", "train sft"]
    first, second = told(world, "pretrain"), told(world, "sft")
    assert (first.get("type", "pretrain"), first["steps"], first.get("epochs")) == ("pretrain", 40, None)
    assert (second["type"], second.get("steps"), second["epochs"]) == ("sft", None, 3)
    assert (first["hyperparameters"]["learningRate"], first["hyperparameters"]["warmupSteps"]) == (3e-4, 100)
    assert (second["hyperparameters"]["learningRate"], second["hyperparameters"]["warmupSteps"]) == (2e-5, 10)
    assert second["inputDigest"] == world.status(TRAINING, "pretrain")["stages"][0]["digest"]
    stages = world.status(TRAINING, "pretrain")["stages"]
    assert [(stage["step"], stage["steps"]) for stage in stages] == [(40, 40), (30, 30)]
    assert world.status(TRAINING, "pretrain")["percent"] == 100


def test_the_steps_of_epochs_are_shown_once_the_pod_knows_them() -> None:
    world = both_stages(World())
    world.held = {"train"}
    world.settle()
    status = world.status(TRAINING, "pretrain")
    assert "percent" not in status, "the steps of the second stage are not known"
    assert "steps" not in status["stages"][1]
    world.held = set()
    while len(world.jobs("train")) < 2:
        world.step()
    world.held = {"train"}
    world.settle()
    (pod,) = [pod for pod in world.of_kind("Pod") if pod["status"]["phase"] == "Running"]
    identity = world.status(TRAINING, "pretrain")["stages"][1]["identity"]

    def seen(**figures: Any) -> dict[str, Any]:
        world.progress[pod["metadata"]["name"]] = Progress(identity=identity, unit="step", **figures)
        world.reconcile(RUN)
        return dict(world.status(TRAINING, "pretrain")["stages"][1])

    assert "steps" not in seen(phase="tokenizing", done=0, total=0)
    found = Examples(total=900, cut=12, left_out=3)
    stage = seen(phase="step", done=15, total=60, examples=found)
    assert (stage["step"], stage["steps"]) == (15, 60)
    assert stage["examples"] == {"total": 900, "cut": 12, "leftOut": 3}
    assert world.status(TRAINING, "pretrain")["percent"] == 55
    stage = seen(phase="loading", done=0, total=0)
    assert (stage["steps"], stage["examples"]["total"]) == (60, 900), "what is known stays known"
