"""A model from somebody's claim: copied once, from then on needing that claim no more."""

import itertools
import json
from datetime import timedelta
from typing import Any

import pytest
from deepseek_operator.api.names import MODEL, SERVICE, Annotation
from deepseek_operator.controllers.conditions import timestamp
from deepseek_operator.controllers.decision import Ref
from deepseek_operator.controllers.decision import Warning as WarningEvent
from deepseek_runtime.wire.result import JobResult, encode

from tests.unit.controllers.builders import NAMESPACE, imported, service
from tests.unit.controllers.world import World

OWN = Ref(MODEL, NAMESPACE, "own")


def claims_of(job: dict[str, Any]) -> dict[str, bool]:
    """The claims that a Job's pods mount, and whether read-only."""
    sources = [volume.get("persistentVolumeClaim") for volume in job["spec"]["template"]["spec"]["volumes"]]
    return {source["claimName"]: source["readOnly"] for source in sources if source is not None}


def lose_status(world: World) -> None:
    world.objects[OWN].pop("status", None)


def lose_jobs(world: World) -> None:
    for job in world.of_kind("Job"):
        world.drop(Ref.of(job))


def test_it_is_copied_into_a_volume_of_its_own_and_used_as_any_other() -> None:
    world = World().apply(imported(path="a/b").variant("int8").evaluated(), service(model="own", variant="int8"))
    world.settle()
    assert world.computed == ["import base", "quantize int8", "evaluate base", "evaluate int8"]
    status = world.status(MODEL, "own")
    base = status["artifacts"][0]
    (job,) = world.jobs("import")
    assert claims_of(job) == {base["claim"]: False, "weights": True}
    assert status["lineage"] == {"source": "existingClaim/weights/a/b", "digest": base["digest"]}
    assert status["revision"] == status["digest"] == base["digest"]
    assert world.condition(SERVICE, "chat", "Ready")[0] == "True"  # type: ignore[index]
    mount = next(m for m in job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] if m["name"] != "scratch")
    assert "subPath" not in mount, "a kubelet would make a folder that is missing"


def test_its_volume_says_what_was_copied_as_soon_as_it_is_sealed_and_in_one_write() -> None:
    world = World()
    world.held = {"import"}
    world.apply(imported()).settle()
    (claim,) = world.of_kind("PersistentVolumeClaim")
    assert json.loads(claim["metadata"]["annotations"][Annotation.LINEAGE]) == {"source": "existingClaim/weights"}
    world.held = set()
    world.settle()
    lineage = world.status(MODEL, "own")["lineage"]
    assert json.loads(claim["metadata"]["annotations"][Annotation.LINEAGE]) == lineage
    assert lineage["digest"]


@pytest.mark.parametrize("losses", [[lose_status], [lose_jobs], [lose_status, lose_jobs], [lose_jobs, lose_status]])
@pytest.mark.parametrize("together", [True, False])
def test_what_is_lost_is_found_without_the_claim_it_came_from(losses: list[Any], together: bool) -> None:
    world = World().apply(imported()).settle()
    before = world.status(MODEL, "own")
    for lose in losses:
        lose(world)
        if not together:
            world.settle()
    world.settle()
    after = world.status(MODEL, "own")
    assert world.computed == ["import base"]
    assert {**after, "conditions": [], "cost": {}} == {**before, "conditions": [], "cost": {}}
    if lose_status in losses and lose_jobs in losses and together:
        assert claims_of(world.jobs("import")[0]) == {before["artifacts"][0]["claim"]: False}


def test_a_lost_volume_is_copied_again() -> None:
    world = World().apply(imported()).settle()
    for _ in range(3):
        world.step()
    world.drop(Ref("PersistentVolumeClaim", NAMESPACE, world.status(MODEL, "own")["artifacts"][0]["claim"]))
    lose_jobs(world)
    world.settle()
    assert world.computed == ["import base"] * 2
    assert "weights" in claims_of(world.jobs("import")[0])


def test_another_place_is_another_base_that_takes_over_when_it_is_sealed() -> None:
    world = World().apply(imported(path="v1"), service(model="own", tensor=1)).settle()
    old = world.status(MODEL, "own")["artifacts"][0]
    world.held = {"import"}
    world.apply(imported(path="v2")).settle()
    assert len(world.of_kind("PersistentVolumeClaim")) == 2
    assert world.status(SERVICE, "chat")["serving"]["digest"] == old["digest"]
    assert world.status(MODEL, "own")["phase"] == "Updating"
    assert world.condition(MODEL, "own", "Reconciling")[1] == "Importing"  # type: ignore[index]
    world.held = set()
    world.settle()
    new = world.status(MODEL, "own")["artifacts"][0]
    assert world.status(SERVICE, "chat")["serving"]["digest"] == new["digest"] != old["digest"]
    assert [claim["metadata"]["name"] for claim in world.of_kind("PersistentVolumeClaim")] == [new["claim"]]


def test_ways_to_write_the_same_place_are_the_same_place() -> None:
    identities = []
    for path in ("a/b", "./a/b", "a//b", "a/b/", None, ".", "./"):
        world = World().apply(imported(path=path)).settle()
        identities.append(world.status(MODEL, "own")["artifacts"][0]["identity"])
    assert [len({*group}) for group in (identities[:4], identities[4:], identities)] == [1, 1, 2]


SCHEDULED = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}


@pytest.mark.parametrize(
    ("message", "warning", "reason", "said"),
    [
        ('persistentvolumeclaim "weights" not found', None, "VolumeMissing", '"weights" not found'),
        ("pod has unbound immediate PersistentVolumeClaims", "x", "VolumeMissing", "unbound immediate"),
        ("1 node(s) had volume node affinity conflict", None, "NeedsSharedVolume", "volume node affinity conflict"),
        (None, 'Multi-Attach error for volume "pvc-1": in use by pod(s) web-0', "NeedsSharedVolume", "by pod(s) web-0"),
    ],
)
def test_a_claim_that_cannot_be_had_is_told_with_what_to_do(
    message: str | None, warning: str | None, reason: str, said: str
) -> None:
    world = World()
    world.held = {"import"}
    world.apply(imported()).settle()
    (pod,) = world.of_kind("Pod")
    conditions = [{**SCHEDULED, "message": message, "lastTransitionTime": timestamp(world.now)}] if message else []
    pod["status"] = {"phase": "Pending", "conditions": conditions}
    if warning is not None:
        at = timestamp(world.now + timedelta(seconds=1))
        world.warnings = {
            pod["metadata"]["uid"]: (
                WarningEvent("FailedScheduling" if message else "FailedAttachVolume", warning, at),
            )
        }
    world.reconcile(OWN)
    found = world.condition(MODEL, "own", "Ready")
    assert found is not None
    assert found[:2] == ("False", reason)
    assert said in found[2]
    assert world.status(MODEL, "own")["lastFailure"]["reason"] == reason


@pytest.mark.parametrize("reason", ["PathNotFound", "Unreadable", "UnsafeModel", "StorageTooSmall"])
def test_what_the_import_refuses_stalls_the_model_with_its_words(reason: str) -> None:
    world = World()
    world.held = {"import"}
    world.apply(imported()).settle()
    (job,) = world.jobs("import")
    result = JobResult(kind="import", identity="x", outcome="failed", reason=reason, message="what is wrong there")
    world.end_pod(job["metadata"]["name"], 65, encode(result))
    world.settle()
    found = world.condition(MODEL, "own", "Stalled")
    assert found is not None
    assert "import base failed: what is wrong there" in found[2]
    assert world.status(MODEL, "own")["lastFailure"]["reason"] == reason
    world.held = set()
    world.drop(Ref.of(job))
    world.settle()
    assert world.condition(MODEL, "own", "Ready")[0] == "True", "it is tried again when its Job is deleted"  # type: ignore[index]


def test_losses_in_the_middle_of_the_copy_end_well() -> None:
    for losses in itertools.permutations([lose_status, lose_jobs, lambda world: world.step()]):
        world = World()
        world.held = {"import"}
        world.apply(imported()).settle()
        for lose in losses:
            lose(world)
        world.held = set()
        world.settle()
        assert world.computed == ["import base"]
        assert world.condition(MODEL, "own", "Ready")[0] == "True"  # type: ignore[index]
