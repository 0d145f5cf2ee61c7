"""Runs over several pods: what is made for them, when they are refused, and how the status counts and reads them."""

import json

from deepseek_operator.api.names import MODEL, TRAINING, Label
from deepseek_operator.controllers.decision import Object, Ref
from deepseek_operator.controllers.decision import Warning as WarningEvent
from deepseek_runtime.wire.progress import Progress

from tests.unit.controllers.builders import NAMESPACE, Builder, run, scratch
from tests.unit.controllers.world import World

RUN = Ref(TRAINING, NAMESPACE, "pretrain")
SHARED = ["ReadWriteMany"]


def shared_seed() -> Builder:
    return scratch().having("storage.accessModes", SHARED)


def two_pods() -> Builder:
    return run().having("compute.nodes", 2).having("checkpoint.storage.accessModes", SHARED)


def training() -> tuple[World, Object]:
    """A run on two pods that is at work."""
    world = World().apply(shared_seed()).settle()
    world.held = {"train"}
    world.apply(two_pods()).settle()
    (job,) = world.jobs("train")
    return world, job


def pod(world: World, job: Object, index: int, **status: object) -> Object:
    """The pod of this index, running."""
    made = world._new_pod(job)
    made["metadata"]["labels"][Label.INDEX] = str(index)
    made["status"] |= status
    return made


def test_each_pod_has_an_index_and_a_name_that_only_this_attempt_has() -> None:
    world, job = training()
    spec, name = job["spec"], job["metadata"]["name"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 2, 2)
    assert spec["template"]["spec"]["subdomain"] == "run-pretrain"
    environment = {one["name"]: one["value"] for one in spec["template"]["spec"]["containers"][0]["env"]}
    told = json.loads(environment["DEEPSEEK_JOB"])
    assert (told["nodes"], told["rendezvous"]) == (2, f"{name}-0.run-pretrain:29400")
    service = world.get("Service", "run-pretrain")
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"].items() <= spec["template"]["metadata"]["labels"].items()
    (policy,) = (p for p in world.of_kind("NetworkPolicy") if p["metadata"]["name"] == "trainingrun-pretrain")
    peers = [{"podSelector": policy["spec"]["podSelector"]}]
    assert {"from": peers} in policy["spec"]["ingress"]
    assert {"to": peers} in policy["spec"]["egress"]


def test_one_pod_needs_no_index_service_or_neighbours() -> None:
    world = World().apply(scratch(), run()).settle()
    (job,) = world.jobs("train")
    assert "completionMode" not in job["spec"]
    assert "subdomain" not in job["spec"]["template"]["spec"]
    assert world.of_kind("Service") == []


def test_how_many_share_the_work_is_no_part_of_its_identity() -> None:
    _, several = training()
    world = World().apply(shared_seed(), run()).settle()
    (one,) = world.jobs("train")
    assert one["metadata"]["labels"][Label.IDENTITY] == several["metadata"]["labels"][Label.IDENTITY]


def test_volumes_of_one_node_are_refused_before_a_pod_exists() -> None:
    both = World().apply(scratch(), run().having("compute.nodes", 2)).settle()
    assert both.jobs("train") == []
    status, reason, message = both.condition(TRAINING, "pretrain", "Stalled") or ("", "", "")
    assert (status, reason) == ("True", "NeedsSharedVolume")
    assert "checkpoint.storage.accessModes" in message
    assert "storage.accessModes of DeepSeekModel seed" in message
    base = World().apply(scratch(), two_pods()).settle()
    _, _, message = base.condition(TRAINING, "pretrain", "Stalled") or ("", "", "")
    assert "checkpoint" not in message
    assert base.jobs("train") == []
    base.apply(run()).settle()
    assert base.condition(TRAINING, "pretrain", "Ready")[0] == "True"  # type: ignore[index]


def test_the_lost_pod_is_named_and_counted_and_an_evicted_one_is_not() -> None:
    world, job = training()
    lost, evicted = pod(world, job, 1), pod(world, job, 1)
    world._terminate(lost, 70, "Training process 0 ended with SIGKILL.", "Error")
    world._terminate(evicted, 137, "", "Error")
    evicted["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True"}]
    told = pod(world, job, 0)
    world._terminate(told, 75, "Told to stop.", "Error")
    world.reconcile(RUN)
    status = world.status(TRAINING, "pretrain")
    assert status["stages"][0]["restarts"] == 1
    assert status["lastFailure"]["pod"] in {lost["metadata"]["name"], evicted["metadata"]["name"]}


def test_one_pod_that_gets_no_node_is_what_all_of_them_wait_for() -> None:
    world, job = training()
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    pod(world, job, 1, phase="Pending", conditions=[unschedulable], containerStatuses=[])
    world.reconcile(RUN)
    _, reason, message = world.condition(TRAINING, "pretrain", "StagesComplete") or ("", "", "")
    assert reason == "Unschedulable"
    assert "no node can run pod" in message


def test_a_quota_that_admits_one_of_two_pods_is_told() -> None:
    world, job = training()
    refused = WarningEvent("FailedCreate", "exceeded quota: pods=1", "2026-01-01T00:01:00Z")
    world.warnings[job["metadata"]["uid"]] = (refused,)
    world.reconcile(RUN)
    _, reason, message = world.condition(TRAINING, "pretrain", "StagesComplete") or ("", "", "")
    assert reason == "QuotaExceeded"
    assert "exceeded quota: pods=1" in message
    world.warnings.clear()
    pod(world, job, 1)
    world.reconcile(RUN)
    assert world.condition(TRAINING, "pretrain", "StagesComplete")[1] == "Training"  # type: ignore[index]


def test_figures_are_those_of_the_first_pod() -> None:
    world, job = training()
    identity = world.status(TRAINING, "pretrain")["stages"][0]["identity"]
    (first,) = world._pods(job["metadata"]["name"])
    first["metadata"]["labels"][Label.INDEX] = "0"
    second = pod(world, job, 1)
    for done, one in ((7, first), (3, second)):
        figures = Progress(identity=identity, phase="step", unit="step", done=done, total=40)
        world.progress[one["metadata"]["name"]] = figures
    world.reconcile(RUN)
    assert world.status(TRAINING, "pretrain")["stages"][0]["step"] == 7
    del world.progress[first["metadata"]["name"]]
    world.reconcile(RUN)
    assert world.status(TRAINING, "pretrain")["stages"][0]["step"] == 3


def test_a_finished_run_of_two_pods_is_complete_and_left_alone() -> None:
    world, _ = training()
    world.held = set()
    world.settle()
    assert world.condition(TRAINING, "pretrain", "Ready")[0] == "True"  # type: ignore[index]
    assert not world.reconcile(RUN)
    assert world.condition(MODEL, "seed", "Ready")[0] == "True"  # type: ignore[index]
