"""A published model and the run it came from: whichever of them is lost, what is sealed is found again."""

import itertools
import json

import pytest
from deepseek_operator.api.names import MODEL, TRAINING, Annotation
from deepseek_operator.controllers.decision import Ref
from deepseek_operator.desired.claim import artifact_claim_name

from tests.unit.controllers.builders import NAMESPACE, run, scratch, trained
from tests.unit.controllers.world import World

HANDBOOK = Ref(MODEL, NAMESPACE, "handbook")


def published(**source: str) -> World:
    return World().apply(scratch(), run(), trained(**source).variant("int8").evaluated()).settle()


def lose_model_status(world: World) -> None:
    world.objects[HANDBOOK].pop("status", None)


def lose_run(world: World) -> None:
    world.delete(TRAINING, "pretrain")


def lose_run_status(world: World) -> None:
    if (ref := Ref(TRAINING, NAMESPACE, "pretrain")) in world.objects:
        world.objects[ref].pop("status", None)


def lose_seed(world: World) -> None:
    world.delete(MODEL, "seed")


def lose_jobs(world: World) -> None:
    for job in world.of_kind("Job"):
        world.drop(Ref.of(job))


LOSSES = [lose_model_status, lose_run, lose_run_status, lose_seed, lose_jobs]


@pytest.mark.parametrize("losses", [each for n in range(1, 6) for each in itertools.combinations(LOSSES, n)])
@pytest.mark.parametrize("together", [True, False])
def test_whatever_is_lost_is_not_made_again(losses: tuple[object, ...], together: bool) -> None:
    world = published()
    computed, before = list(world.computed), world.status(MODEL, "handbook")
    for lose in losses:
        lose(world)  # type: ignore[operator]
        if not together:
            world.settle()
    world.settle()
    assert world.computed == computed
    after = world.status(MODEL, "handbook")
    assert world.condition(MODEL, "handbook", "Ready")[0] == "True"  # type: ignore[index]
    assert (after["artifacts"], after["lineage"]) == (before["artifacts"], before["lineage"])
    assert world.removed == []


def test_the_volume_of_a_base_says_where_it_came_from() -> None:
    world = published()
    lineage = world.status(MODEL, "handbook")["lineage"]
    claims = {c["metadata"]["name"]: c["metadata"].get("annotations") for c in world.of_kind("PersistentVolumeClaim")}
    base, int8 = (artifact["claim"] for artifact in world.status(MODEL, "handbook")["artifacts"])
    assert json.loads(claims[base][Annotation.LINEAGE]) == lineage
    assert Annotation.LINEAGE not in claims[int8]


def test_an_annotation_that_was_taken_off_comes_back() -> None:
    world = published()
    claim = world.get("PersistentVolumeClaim", world.status(MODEL, "handbook")["artifacts"][0]["claim"])
    before = claim["metadata"]["annotations"][Annotation.LINEAGE]
    claim["metadata"]["annotations"] = {"other": "stays"}
    world.settle()
    assert claim["metadata"]["annotations"] == {"other": "stays", Annotation.LINEAGE: before}


def test_the_job_that_looks_for_the_sealed_base_mounts_nothing_of_the_run() -> None:
    world = published()
    lose_model_status(world)
    lose_run(world)
    lose_jobs(world)
    world.settle()
    (job,) = world.jobs("publish")
    spec = job["spec"]["template"]["spec"]
    claims = [v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"] if "persistentVolumeClaim" in v]
    assert claims == [world.status(MODEL, "handbook")["artifacts"][0]["claim"]]
    assert spec["affinity"]["podAffinity"], "it may have to run where a service holds the volume"


def test_a_copy_that_was_never_finished_says_that_the_run_is_gone() -> None:
    world = World().apply(scratch(), run()).settle()
    world.held = {"publish"}
    world.apply(trained()).settle()
    lose_run(world)
    lose_jobs(world)
    world.held = set()
    world.settle()
    status, reason, message = world.condition(MODEL, "handbook", "Ready") or ("", "", "")
    assert (status, reason) == ("False", "TrainingRunNotFound")
    assert "TrainingRun pretrain is not in this namespace" in message
    assert "publish base" not in world.computed
    world.apply(run()).settle()
    assert world.condition(MODEL, "handbook", "Ready")[0] == "True"  # type: ignore[index]
    assert world.computed.count("train pretrain") == 2, "its volume went with the run"


def test_a_lost_volume_needs_the_run_again() -> None:
    world = published()
    lose_run(world)
    world.settle()
    world.drop(Ref("PersistentVolumeClaim", NAMESPACE, world.status(MODEL, "handbook")["artifacts"][0]["claim"]))
    world.settle()
    assert world.condition(MODEL, "handbook", "Ready")[:2] == ("False", "TrainingRunNotFound")  # type: ignore[index]


@pytest.mark.parametrize("change", [{"run": "other"}, {"stage": "sft"}])
def test_a_base_of_another_source_is_not_taken_for_it(change: dict[str, str]) -> None:
    world = published()
    lose_run(world)
    lose_model_status(world)
    world.apply(trained(**change)).settle()
    assert world.condition(MODEL, "handbook", "Ready")[:2] == ("False", "TrainingRunNotFound")  # type: ignore[index]


def test_an_annotation_that_does_not_belong_to_its_volume_is_not_believed() -> None:
    world = published()
    base = world.status(MODEL, "handbook")["artifacts"][0]
    claim = world.get("PersistentVolumeClaim", base["claim"])
    forged = {"source": "trainingRun/pretrain/pretrain", "digest": "f" * 64}
    claim["metadata"]["annotations"][Annotation.LINEAGE] = json.dumps(forged)
    lose_run(world)
    lose_model_status(world)
    world.settle()
    assert world.condition(MODEL, "handbook", "Ready")[:2] == ("False", "TrainingRunNotFound")  # type: ignore[index]
    assert artifact_claim_name("handbook", "base", base["identity"]) == base["claim"]
