"""Another revision is made beside the one that is served, and takes over when all that is asked of it is proven."""

import json

import pytest
from deepseek_operator.api.names import MODEL, SERVICE
from deepseek_operator.controllers.decision import Object
from deepseek_runtime.wire.job import Job
from deepseek_runtime.wire.result import JobResult

from tests.unit.controllers import world as worlds
from tests.unit.controllers.builders import Builder, fetched, imported, run, scratch, service, trained
from tests.unit.controllers.results import result_of
from tests.unit.controllers.test_signing import signed
from tests.unit.controllers.test_verification import SIGNED, refuse, verified
from tests.unit.controllers.world import World


def asked(revision: str) -> Builder:
    return fetched(revision=revision).variant("int8", gate=0.02).evaluated()


def serving() -> World:
    world = World()
    world.perplexities = {"base": 20.0, "int8": 20.1}
    return world.apply(asked("v1"), service(model="base", variant="int8")).settle()


def claims(world: World) -> set[str]:
    return {str(claim["metadata"]["name"]) for claim in world.of_kind("PersistentVolumeClaim")}


def of(artifacts: list[Object]) -> set[str]:
    return {str(artifact["claim"]) for artifact in artifacts}


def proven(status: Object) -> Object:
    """What speaks of the artifacts that are there."""
    return {
        key: status[key] for key in ("digest", "revision", "size", "architecture", "artifacts", "lineage", "sizing")
    }


@pytest.mark.parametrize("stage", ["fetch", "quantize", "evaluate"])
def test_until_the_new_one_is_proven_the_old_one_is_shown_and_served(stage: str) -> None:
    world = serving()
    before = world.status(MODEL, "base")
    world.held = {stage}
    world.apply(asked("v2")).settle()
    during = world.status(MODEL, "base")
    assert proven(during) == proven(before)
    assert during["phase"] == "Updating"
    assert world.condition(MODEL, "base", "Ready")[:2] == ("True", "RollingOut")  # type: ignore[index]
    assert world.condition(MODEL, "base", "Reconciling") is not None
    assert during["next"]["artifacts"][0]["claim"] not in of(before["artifacts"])
    assert claims(world) == of(before["artifacts"]) | of(during["next"]["artifacts"])
    world.apply(service("late", model="base", variant="int8")).settle()
    assert world.status(SERVICE, "late")["serving"] == world.status(SERVICE, "chat")["serving"]
    assert world.condition(SERVICE, "late", "Ready")[0] == "True"  # type: ignore[index]
    world.held = set()
    world.settle()
    after = world.status(MODEL, "base")
    assert "next" not in after
    assert after["phase"] == "Ready"
    assert world.condition(MODEL, "base", "Reconciling") is None
    assert not of(after["artifacts"]) & of(before["artifacts"])
    assert claims(world) == of(after["artifacts"]), "the old volumes are free"
    for name in ("chat", "late"):
        assert world.status(SERVICE, name)["serving"]["digest"] == after["artifacts"][1]["digest"]


def test_old_volumes_stay_while_a_service_cannot_follow() -> None:
    world = serving()
    before = world.status(MODEL, "base")
    world.engines_start = False
    world.apply(asked("v2")).settle()
    assert "next" not in world.status(MODEL, "base")
    assert of(before["artifacts"]) <= claims(world)
    world.engines_start = True
    world.settle()
    assert claims(world) == of(world.status(MODEL, "base")["artifacts"])


def test_one_that_misses_its_gate_changes_nothing_and_the_way_back_is_free() -> None:
    world = serving()
    before = world.status(MODEL, "base")
    computed = list(world.computed)
    world.perplexities = {"base": 20.0, "int8": 25.0}
    world.apply(asked("v2")).settle()
    assert proven(world.status(MODEL, "base")) == proven(before)
    assert world.condition(MODEL, "base", "Stalled")[1] == "GateBlocked"  # type: ignore[index]
    made = list(world.computed)
    assert made == [*computed, "fetch base", "quantize int8", "evaluate base", "evaluate int8"]
    world.apply(asked("v1")).settle()
    status = world.status(MODEL, "base")
    assert "next" not in status
    assert (proven(status), status["phase"]) == (proven(before), "Ready")
    assert world.computed == made
    assert claims(world) == of(before["artifacts"]), "what was refused takes no room"


def test_a_third_revision_overtakes_the_second() -> None:
    world = serving()
    before = world.status(MODEL, "base")
    world.held = {"evaluate"}
    world.apply(asked("v2")).settle()
    world.apply(asked("v3")).settle()
    assert proven(world.status(MODEL, "base")) == proven(before)
    world.held = set()
    world.settle()
    assert claims(world) == of(world.status(MODEL, "base")["artifacts"])
    assert world.status(MODEL, "base")["lineage"]["source"] == "huggingFace/tiny/model"


@pytest.mark.parametrize("stage", ["fetch", "quantize", "evaluate"])
def test_statuses_and_jobs_that_are_lost_meanwhile_cost_no_work_and_no_answer(stage: str) -> None:
    world = serving()
    served = json.dumps(world.of_kind("Deployment")[0]["spec"])
    world.held = {stage}
    world.apply(asked("v2")).settle()
    computed = list(world.computed)
    world.forget()
    world.settle()
    assert world.computed == computed
    assert json.dumps(world.of_kind("Deployment")[0]["spec"]) == served
    world.held = set()
    world.settle()
    assert len(world.computed) == 8, "each part of both revisions once"
    assert claims(world) == of(world.status(MODEL, "base")["artifacts"])
    assert world.condition(SERVICE, "chat", "Ready")[0] == "True"  # type: ignore[index]


def test_a_base_of_another_kind_stops_the_fetch_that_was_under_way() -> None:
    world = World()
    world.held = {"fetch"}
    world.apply(fetched("own")).settle()
    world.apply(imported()).settle()
    assert [job["metadata"]["labels"]["deepseek-operator.io/work"] for job in world.of_kind("Job")] == ["import"]
    assert claims(world) == of(world.status(MODEL, "own")["artifacts"])


def test_what_is_there_stays_while_a_run_trains_its_successor() -> None:
    world = World().apply(imported().variant("int8"), service(model="own", variant="int8")).settle()
    before = world.status(MODEL, "own")
    world.held = {"train"}
    world.apply(trained("own").variant("int8")).settle()
    world.apply(scratch(), run()).settle()
    during = world.status(MODEL, "own")
    assert (proven(during), during["phase"]) == (proven(before), "Updating")
    assert "next" not in during
    assert world.condition(MODEL, "own", "Ready")[:2] == ("True", "RollingOut")  # type: ignore[index]
    assert world.condition(MODEL, "own", "Reconciling")[1] == "WaitingForTrainingRun"  # type: ignore[index]
    world.held = set()
    world.settle()
    after = world.status(MODEL, "own")
    assert (after["phase"], after["lineage"]["source"]) == ("Ready", "trainingRun/pretrain/pretrain")
    assert world.condition(SERVICE, "chat", "ModelReady")[0] == "True"  # type: ignore[index]
    assert not of(before["artifacts"]) & claims(world)


def test_without_the_old_volume_there_is_nothing_to_wait_beside() -> None:
    world = World().apply(fetched(revision="v1")).settle()
    world.held = {"fetch"}
    world.apply(fetched(revision="v2"))
    world.objects = {ref: obj for ref, obj in world.objects.items() if ref.kind != "PersistentVolumeClaim"}
    world.settle()
    assert world.condition(MODEL, "base", "Ready")[0] == "False"  # type: ignore[index]
    assert "next" not in world.status(MODEL, "base")


def test_a_removed_variant_keeps_its_volume_for_the_service_on_it_and_frees_it_then() -> None:
    world = serving()
    world.apply(fetched(revision="v1").evaluated()).settle()
    assert len(claims(world)) == 2
    assert world.condition(SERVICE, "chat", "Ready")[0] == "True"  # type: ignore[index]
    assert world.condition(SERVICE, "chat", "Stalled")[1] == "VariantNotFound"  # type: ignore[index]
    world.apply(service(model="base")).settle()
    assert claims(world) == of(world.status(MODEL, "base")["artifacts"])
    assert len(claims(world)) == 1
    assert {job["metadata"]["labels"]["deepseek-operator.io/subject"] for job in world.of_kind("Job")} == {"base"}


@pytest.mark.parametrize("refused", [False, True])
def test_a_base_that_has_not_proven_what_is_asked_now_is_not_ready_beside_another(refused: bool) -> None:
    world = World().apply(imported(), service(model="own")).settle()
    world.held = {"verify", "import"}
    if refused:
        world.apply(verified(SIGNED)).settle()
        refuse(world, "verify")
        world.settle()
    world.apply(verified(SIGNED, imported(claim="other"))).settle()
    assert "next" in world.status(MODEL, "own")
    assert world.condition(MODEL, "own", "Ready")[:2] == ("False", "Importing")  # type: ignore[index]
    assert world.status(MODEL, "own")["phase"] == "Importing"
    world.apply(service("late", model="own")).settle()
    assert world.condition(SERVICE, "chat", "Ready")[0] == "True"  # type: ignore[index]
    assert world.condition(SERVICE, "late", "Ready")[:2] == ("False", "WaitingForModel")  # type: ignore[index]
    world.held = set()
    world.settle()
    assert world.condition(MODEL, "own", "Ready")[0] == "True"  # type: ignore[index]
    assert world.condition(SERVICE, "late", "Ready")[0] == "True"  # type: ignore[index]


def test_a_revision_of_the_same_signer_is_verified_beside_the_one_that_is_ready() -> None:
    world = World().apply(verified(SIGNED, fetched(revision="v1")), service(model="base")).settle()
    before = world.status(MODEL, "base")
    world.held = {"fetch"}
    world.apply(verified(SIGNED, fetched(revision="v2"))).settle()
    refuse(world, "fetch")
    world.settle()
    during = world.status(MODEL, "base")
    assert (proven(during), during["verification"]) == (proven(before), before["verification"])
    assert world.condition(MODEL, "base", "Ready")[:2] == ("True", "RollingOut")  # type: ignore[index]
    assert world.condition(MODEL, "base", "Stalled")[1] == "SignatureInvalid"  # type: ignore[index]
    world.apply(service("late", model="base")).settle()
    assert world.condition(SERVICE, "late", "Ready")[0] == "True"  # type: ignore[index]
    assert world.condition(SERVICE, "late", "Stalled") is None


def test_what_was_signed_keeps_its_signature_until_its_successor_is_signed() -> None:
    world = World().apply(signed(fetched(revision="v1").variant("int8"))).settle()
    before = world.status(MODEL, "base")["artifacts"]
    world.held = {"sign"}
    world.apply(signed(fetched(revision="v2").variant("int8"))).settle()
    assert world.status(MODEL, "base")["artifacts"] == before
    world.held = set()
    world.settle()
    after = world.status(MODEL, "base")["artifacts"][1]["signature"]
    assert after["identity"] != before[1]["signature"]["identity"]


def test_a_revision_of_equal_weights_takes_over_before_the_volume_of_before_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A branch is pinned to the commit that it is at: World refuses to remove a volume that pods still have."""

    def equal(config: Job, image: str, perplexity: float) -> JobResult:
        found = result_of(config, image, perplexity)
        if found.artifact is None:
            return found
        return found.model_copy(update={"artifact": found.artifact.model_copy(update={"digest": "d" * 64})})

    monkeypatch.setattr(worlds, "result_of", equal)
    world = World().apply(fetched(revision="main"), service(model="base")).settle()
    (before,) = claims(world)
    world.apply(fetched(revision="v1")).settle()
    (after,) = claims(world)
    assert before != after == world.status(SERVICE, "chat")["serving"]["claim"]
