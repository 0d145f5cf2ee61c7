"""A Job cannot be changed: what is stuck is made anew as it is wanted now, and what is at work is left alone."""

from dataclasses import replace

import pytest
from deepseek_operator.api.names import MODEL, TRAINING, Reason
from deepseek_operator.controllers.decision import Object, Ref
from deepseek_runtime.wire.result import JobResult, encode

from tests.unit.controllers.builders import NAMESPACE, run, scratch
from tests.unit.controllers.test_failures import unschedulable, waiting
from tests.unit.controllers.test_several_pods import pod, shared_seed, two_pods
from tests.unit.controllers.world import World

NO_ROOM = unschedulable("0/3 nodes are available: 3 Insufficient memory.")
LESS = {"memory": "2Gi"}
SEED = Ref(MODEL, NAMESPACE, "seed")


def building(*status: Object) -> tuple[World, Object]:
    """A model whose build is held at a pod in this state, and its Job."""
    world = World()
    world.held = {"build"}
    world.apply(scratch()).settle()
    (job,) = world.jobs("build")
    (made,) = world.of_kind("Pod")
    for found in status:
        made["status"] = found
    world.settle()
    return world, job


def limits(job: Object) -> Object:
    found: Object = job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    return found


def test_a_stuck_job_is_made_anew_with_other_resources() -> None:
    world, job = building(NO_ROOM)
    world.apply(scratch().having("jobs.resources.limits", LESS)).settle()
    (after,) = world.jobs("build")
    assert after["metadata"]["uid"] != job["metadata"]["uid"]
    assert limits(after).items() >= LESS.items()
    assert world.condition(MODEL, "seed", "Ready")[1] == Reason.BUILDING  # type: ignore[index]
    world.held = set()
    assert world.settle().status(MODEL, "seed")["phase"] == "Ready"
    assert "lastFailure" not in world.status(MODEL, "seed")
    assert world.computed == ["build base"]


def test_nothing_waits_until_all_attempts_are_used_up() -> None:
    world, job = building()
    world.end_pod(job["metadata"]["name"], 71)
    world.apply(scratch().having("jobs.resources.limits", LESS))
    world.reconcile(SEED)
    assert world.removed == [Ref.of(job)]
    world.settle()
    assert limits(world.jobs("build")[0]).items() >= LESS.items()


def test_a_stuck_job_takes_the_image_of_an_upgrade() -> None:
    world, _ = building(waiting("ImagePullBackOff", "Back-off pulling image"))
    assert world.status(MODEL, "seed")["lastFailure"]["reason"] == Reason.IMAGE_PULL_FAILED
    world.settings = replace(world.settings, runtime_image="registry.example/runtime:2")
    world.held = set()
    assert world.settle().status(MODEL, "seed")["phase"] == "Ready"
    (job,) = world.jobs("build")
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/runtime:2"


@pytest.mark.parametrize("status", [(), ({"phase": "Pending"},)], ids=["it runs", "it waits, and nothing is wrong"])
def test_what_is_not_stuck_is_left_alone(status: tuple[Object, ...]) -> None:
    world, job = building(*status)
    world.settings = replace(world.settings, runtime_image="registry.example/runtime:2")
    world.apply(scratch().having("jobs.resources.limits", LESS))
    world.reconcile(SEED)
    assert world.jobs("build") == [job]
    assert world.removed == []


def test_stuck_and_wanted_as_it_is() -> None:
    world, job = building(NO_ROOM)
    world.now = world.now.replace(year=2027)
    world.reconcile(SEED)
    assert world.jobs("build") == [job]


def test_a_suspended_run_goes_on_with_the_settings_of_meanwhile() -> None:
    world = World().apply(scratch()).settle()
    world.held = {"train"}
    world.apply(run()).settle()
    changed = run().having("compute.resources.limits", LESS)
    world.apply(changed)
    world.reconcile(Ref(TRAINING, NAMESPACE, "pretrain"))
    (job,) = world.jobs("train")
    assert limits(job).items() & LESS.items() == set(), "it runs"
    world.apply(changed.having("suspend", True)).settle()
    (job,) = world.jobs("train")
    assert limits(job).items() >= LESS.items()
    assert job["spec"]["suspend"] is True
    world.held = set()
    world.apply(changed.having("suspend", False)).settle()
    assert world.status(TRAINING, "pretrain")["phase"] == "Complete"
    assert world.computed.count("train pretrain") == 1


def test_a_group_of_which_one_finds_no_room_is_made_anew_as_a_whole() -> None:
    world = World().apply(shared_seed()).settle()
    world.held = {"train"}
    world.apply(two_pods()).settle()
    (job,) = world.jobs("train")
    pod(world, job, 1, **NO_ROOM)
    world.apply(two_pods().having("compute.resources.limits", LESS)).settle()
    (after,) = world.jobs("train")
    assert limits(after).items() >= LESS.items()


def test_pods_that_share_work_go_on_without_one_that_finds_no_room() -> None:
    world = World()
    world.held = {"quantize"}
    model = shared_seed().variant("int8", parallelism=2)
    world.apply(model).settle()
    (job,) = world.jobs("quantize")
    pod(world, job, 1, **NO_ROOM)
    world.apply(model.having("jobs.resources.limits", LESS))
    world.reconcile(SEED)
    assert world.status(MODEL, "seed")["lastFailure"]["reason"] == Reason.UNSCHEDULABLE
    assert world.jobs("quantize") == [job]


def test_a_group_that_failed_for_good_is_not_started_again() -> None:
    world = World().apply(shared_seed()).settle()
    world.held = {"train"}
    world.apply(two_pods()).settle()
    (job,) = world.jobs("train")
    said = JobResult(kind="train", identity="", outcome="failed", reason="BadData", message="No text. Give some.")
    world.end_pod(job["metadata"]["name"], 65, encode(said))
    world.settle()
    assert [found["metadata"]["uid"] for found in world.jobs("train")] == [job["metadata"]["uid"]]
    assert world.status(TRAINING, "pretrain")["phase"] == "Failed"


FULL = encode(JobResult(kind="build", identity="", outcome="failed", reason="DiskFull", message="No room. Give more."))


def test_more_room_is_made_use_of_at_once() -> None:
    world, job = building()
    world.end_pod(job["metadata"]["name"], 70, FULL)
    world.apply(scratch().having("storage.size", "2Gi"))
    world.reconcile(SEED)
    assert world.removed == [Ref.of(job)]


@pytest.mark.parametrize("given_up", [False, True])
def test_a_job_waits_until_the_volume_has_grown(given_up: bool) -> None:
    world, job = building()
    (claim,) = world.of_kind("PersistentVolumeClaim")
    claim["status"]["capacity"] = {"storage": "1Gi"}
    world.end_pod(job["metadata"]["name"], 65 if given_up else 70, FULL)
    world.apply(scratch().having("storage.size", "2Gi")).settle()
    assert [found for found in world.jobs("build") if found["metadata"]["uid"] != job["metadata"]["uid"]] == []
    ready = world.condition(MODEL, "seed", "Ready")
    assert ready is not None
    assert ready[1:] == (
        Reason.PENDING,
        f"the volume of PersistentVolumeClaim {claim['metadata']['name']} is growing from 1Gi to 2Gi.",
    )
    world.held = set()
    claim["status"]["capacity"] = {"storage": "2Gi"}
    assert world.settle().status(MODEL, "seed")["phase"] == "Ready"


def test_a_file_system_that_grows_when_it_is_mounted_is_not_waited_for() -> None:
    world, job = building()
    (claim,) = world.of_kind("PersistentVolumeClaim")
    claim["status"] |= {
        "capacity": {"storage": "1Gi"},
        "conditions": [{"type": "FileSystemResizePending", "status": "True"}],
    }
    world.end_pod(job["metadata"]["name"], 65, FULL)
    world.held = set()
    world.apply(scratch().having("storage.size", "2Gi"))
    assert world.settle().status(MODEL, "seed")["phase"] == "Ready"


@pytest.mark.parametrize(("capacity", "phase"), [("1e9", "Building"), ("3e9", "Ready"), ("much", "Ready")])
def test_a_capacity_may_have_any_form(capacity: str, phase: str) -> None:
    world, job = building()
    world.of_kind("PersistentVolumeClaim")[0]["status"]["capacity"] = {"storage": capacity}
    world.end_pod(job["metadata"]["name"], 65, FULL)
    world.held = set()
    world.apply(scratch().having("storage.size", "2Gi"))
    assert world.settle().status(MODEL, "seed")["phase"] == phase


def test_a_run_waits_until_its_volume_has_grown() -> None:
    world = World().apply(scratch()).settle()
    world.held = {"train"}
    world.apply(run()).settle()
    (job,) = world.jobs("train")
    claim = world.get("PersistentVolumeClaim", "pretrain-run")
    claim["status"]["capacity"] = {"storage": "10Gi"}
    world.end_pod(job["metadata"]["name"], 65, FULL)
    world.apply(run().having("checkpoint.storage.size", "20Gi")).settle()
    assert world.jobs("train") == [job]
    assert "is growing from 10Gi to 20Gi" in world.condition(TRAINING, "pretrain", "Ready")[2]  # type: ignore[index]
    world.held = set()
    claim["status"]["capacity"] = {"storage": "20Gi"}
    assert world.settle().status(TRAINING, "pretrain")["phase"] == "Complete"


def test_more_room_starts_again_what_was_given_up() -> None:
    world, job = building()
    world.end_pod(job["metadata"]["name"], 70, FULL)
    world.end_job(job["metadata"]["name"])
    assert world.settle().status(MODEL, "seed")["phase"] == "Failed"
    world.held = set()
    world.apply(scratch().having("storage.size", "2Gi"))
    assert world.settle().status(MODEL, "seed")["phase"] == "Ready"
    assert len(world.jobs("build")) == 2


@pytest.mark.parametrize(
    ("phase", "volume"), [("Pending", ""), ("Pending", "pv-1"), ("Bound", "pv-1"), ("Lost", "pv-1")]
)
def test_only_a_claim_without_a_volume_takes_another_class(phase: str, volume: str) -> None:
    world, job = building(NO_ROOM)
    (claim,) = world.of_kind("PersistentVolumeClaim")
    claim["status"]["phase"], claim["spec"]["volumeName"] = phase, volume
    world.apply(scratch().having("storage.storageClassName", "fast")).settle()
    (after,) = world.of_kind("PersistentVolumeClaim")
    assert (after["spec"].get("storageClassName") == "fast") is (not volume)
    assert (after["metadata"]["uid"] != claim["metadata"]["uid"]) is (not volume)
    world.reconcile(SEED)
    assert world.jobs("build") == [job], "its pod waits for a claim of this name"


def test_a_class_is_taken_back() -> None:
    world, _ = building(NO_ROOM)
    world.of_kind("PersistentVolumeClaim")[0]["status"]["phase"] = "Pending"
    world.apply(scratch().having("storage.storageClassName", "none-such")).settle()
    world.of_kind("PersistentVolumeClaim")[0]["status"]["phase"] = "Pending"
    world.apply(scratch()).settle()
    (claim,) = world.of_kind("PersistentVolumeClaim")
    assert "storageClassName" not in claim["spec"]


def test_a_run_whose_claim_has_no_volume_takes_another_class() -> None:
    world = World().apply(scratch()).settle()
    world.held = {"train"}
    world.apply(run()).settle()
    claim = world.get("PersistentVolumeClaim", "pretrain-run")
    claim["status"]["phase"] = "Pending"
    world.apply(run().having("checkpoint.storage.storageClassName", "fast")).settle()
    assert world.get("PersistentVolumeClaim", "pretrain-run")["spec"]["storageClassName"] == "fast"
