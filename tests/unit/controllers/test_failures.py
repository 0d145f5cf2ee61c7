"""What a user reads when a child is in trouble: the reason, what happened, and what to do."""

import re
from typing import Any

import pytest
from deepseek_operator.api.names import MODEL, SERVICE, TRAINING, Label, Reason
from deepseek_operator.controllers.decision import Object, Ref
from deepseek_operator.controllers.decision import Warning as WarningEvent
from deepseek_operator.controllers.remedies import REMEDIES
from deepseek_runtime.wire.result import JobResult, encode

from tests.unit.controllers.builders import NAMESPACE, run, scratch, service
from tests.unit.controllers.world import World

AT = "2026-01-01T00:00:05Z"


def unschedulable(message: str) -> Object:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "lastTransitionTime": AT,
    }
    return {"phase": "Pending", "conditions": [condition]}


def waiting(reason: str, message: str) -> Object:
    container = {
        "image": "registry.example/runtime:1",
        "ready": False,
        "state": {"waiting": {"reason": reason, "message": message}},
    }
    return {"phase": "Pending", "containerStatuses": [container]}


def crashed(code: int, message: str = "", reason: str = "Error") -> Object:
    ended = {"exitCode": code, "message": message, "reason": reason, "finishedAt": AT}
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    return {
        "phase": "Running",
        "containerStatuses": [{"ready": False, "state": state, "lastState": {"terminated": ended}}],
    }


def lost() -> Object:
    conditions = [
        {"type": "ContainersReady", "status": "True", "lastTransitionTime": "2026-01-01T00:00:01Z"},
        {"type": "Ready", "status": "False", "lastTransitionTime": AT},
    ]
    return {"phase": "Running", "conditions": conditions, "containerStatuses": [{"ready": True}]}


STUCK_PODS = [
    (lost(), Reason.NODE_LOST, "does not answer"),
    (waiting("ImagePullBackOff", "Back-off pulling image"), Reason.IMAGE_PULL_FAILED, "registry.example/runtime:1"),
    (waiting("InvalidImageName", "couldn't parse"), Reason.IMAGE_PULL_FAILED, "couldn't parse"),
    (waiting("CreateContainerConfigError", 'configmap "x" not found'), Reason.VOLUME_MISSING, '"x"'),
    (unschedulable("0/3 nodes are available: 3 Insufficient memory."), Reason.UNSCHEDULABLE, "Insufficient memory"),
    (unschedulable("0/3 nodes are available: 3 Insufficient nvidia.com/gpu."), Reason.DEVICE_MISSING, "nvidia.com/gpu"),
    (unschedulable("1 node(s) didn't match Pod's node affinity/selector."), Reason.UNSCHEDULABLE, "nodeSelector"),
    (unschedulable('persistentvolumeclaim "text" not found'), Reason.VOLUME_MISSING, '"text"'),
    (unschedulable("1 node(s) didn't match pod affinity rules"), Reason.NEEDS_SHARED_VOLUME, "ReadWriteMany"),
    (unschedulable("1 node(s) had volume node affinity conflict"), Reason.NEEDS_SHARED_VOLUME, "ReadWriteMany"),
    (unschedulable("1 node(s) didn't match PersistentVolume's node affinity"), Reason.NEEDS_SHARED_VOLUME, "one node"),
    (crashed(137, reason="OOMKilled"), Reason.OUT_OF_MEMORY, "limits.memory"),
    (crashed(71, "tensor of 8 GiB"), Reason.OUT_OF_MEMORY, "tensor of 8 GiB"),
    (crashed(1, "Traceback\n  File\nKeyError: 'x'\n"), Reason.CRASHED, "KeyError: 'x'"),
    (crashed(137), Reason.CRASHED, "exit code 137"),
    ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, Reason.OUT_OF_MEMORY, "low on memory"),
]  # fmt: skip


def test_an_unbound_volume_is_a_failure_only_when_kubernetes_warns_of_it() -> None:
    world = World()
    world.held = {"build"}
    world.apply(scratch()).settle()
    (pod,) = world.of_kind("Pod")
    pod["status"] = unschedulable("pod has unbound immediate PersistentVolumeClaims")
    world.reconcile(Ref(MODEL, NAMESPACE, "seed"))
    assert "lastFailure" not in world.status(MODEL, "seed")
    warning = WarningEvent("FailedScheduling", "pod has unbound immediate PersistentVolumeClaims", AT)
    world.warnings = {pod["metadata"]["uid"]: (warning,)}
    world.reconcile(Ref(MODEL, NAMESPACE, "seed"))
    failure = world.status(MODEL, "seed")["lastFailure"]
    assert failure["reason"] == Reason.VOLUME_MISSING
    assert "storage class" in failure["message"]


def test_a_claim_that_the_scheduler_has_not_heard_of_yet_is_no_failure() -> None:
    world = World()
    world.held = {"build"}
    world.apply(scratch()).settle()
    (pod,), (claim,) = world.of_kind("Pod"), world.of_kind("PersistentVolumeClaim")
    pod["status"] = unschedulable(f'persistentvolumeclaim "{claim["metadata"]["name"]}" not found. not found')
    world.reconcile(Ref(MODEL, NAMESPACE, "seed"))
    assert "lastFailure" not in world.status(MODEL, "seed")
    assert [event for event in world.events if event.type == "Warning"] == []


@pytest.mark.parametrize(("status", "reason", "said"), STUCK_PODS)
def test_a_pod_in_trouble_shows_up_in_the_model_at_once(status: Object, reason: str, said: str) -> None:
    world = World()
    world.held = {"build"}
    world.apply(scratch()).settle()
    (pod,) = world.of_kind("Pod")
    pod["status"] = status
    world.reconcile(Ref(MODEL, NAMESPACE, "seed"))
    failure = world.status(MODEL, "seed")["lastFailure"]
    assert (failure["reason"], failure["pod"]) == (reason, pod["metadata"]["name"])
    assert failure["component"] == f"Job/{world.jobs('build')[0]['metadata']['name']}"
    assert said in failure["message"]
    assert REMEDIES[reason] in failure["message"]
    assert [event.reason for event in world.events if event.type == "Warning"] == [reason]


@pytest.mark.parametrize(("status", "reason", "said"), STUCK_PODS)
def test_a_service_is_not_ready_while_its_pods_are_in_trouble(status: Object, reason: str, said: str) -> None:
    world = World()
    world.engines_start = False
    world.apply(scratch(), service()).settle()
    (engine,) = world.of_kind("Deployment")
    world._new_pod(engine)["status"] = status
    world.reconcile(Ref(SERVICE, NAMESPACE, "chat"))
    found = world.condition(SERVICE, "chat", "Ready")
    assert found is not None
    assert found[:2] == ("False", reason)
    assert said in found[2]
    assert world.status(SERVICE, "chat")["lastFailure"]["reason"] == reason


def in_trouble(kind: str, warning: WarningEvent) -> Object:
    world = World()
    world.held = {"build"}
    world.apply(scratch()).settle()
    (child,) = world.of_kind(kind)
    for pod in world.of_kind("Pod"):
        pod["status"] = {"phase": "Pending"}
        if kind == "Job":
            world.drop(Ref.of(pod))
    if kind == "PersistentVolumeClaim":
        child["status"] = {"phase": "Pending"}
    world.warnings = {child["metadata"]["uid"]: (warning,)}
    world.reconcile(Ref(MODEL, NAMESPACE, "seed"))
    found: Object = world.status(MODEL, "seed")["lastFailure"]
    return found


def test_what_only_events_show() -> None:
    mount = WarningEvent("FailedMount", 'MountVolume.SetUp failed: configmap "text" not found', AT)
    assert in_trouble("Pod", mount)["reason"] == Reason.VOLUME_MISSING
    quota = 'pods "x" is forbidden: exceeded quota: small, requested: requests.memory=2Gi, limited: 1Gi'
    refused = in_trouble("Job", WarningEvent("FailedCreate", quota, AT))
    assert (refused["reason"], refused["time"]) == (Reason.QUOTA_EXCEEDED, AT)
    assert re.search("limited: 1Gi.*kubectl describe quota", refused["message"])
    policy = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'
    refused = in_trouble("Job", WarningEvent("FailedCreate", policy, AT))
    assert refused["reason"] == Reason.FORBIDDEN
    assert re.search("runAsNonRoot.*administrator for a policy", refused["message"])
    provision = WarningEvent("ProvisioningFailed", 'storageclass "none-such" not found', AT)
    stuck = in_trouble("PersistentVolumeClaim", provision)
    assert stuck["reason"] == Reason.VOLUME_MISSING
    assert stuck["component"].startswith("PersistentVolumeClaim/seed-base-")
    assert "none-such" in stuck["message"]


def failed(reason: str, message: str) -> str:
    return encode(JobResult(kind="build", identity="x", outcome="failed", reason=reason, message=message))


@pytest.mark.parametrize(("reason", "code"), [("BadTokenizer", 65), ("BadFile", 65), ("NewerVersion", 64)])
def test_why_work_can_never_succeed_is_the_reason_that_people_wait_for(reason: str, code: int) -> None:
    world = World()
    world.held = {"build"}
    world.apply(scratch()).settle()
    (job,) = world.jobs("build")
    world.end_pod(job["metadata"]["name"], code, failed(reason, "tokenizer.json cannot be read."))
    world.settle()
    for condition in ("Stalled", "Ready", "Acquired"):
        found = world.condition(MODEL, "seed", condition)
        assert found is not None
        assert found[1] == reason
        assert "tokenizer.json cannot be read" in found[2]


def test_a_remedy_that_the_runtime_names_itself_is_said_once() -> None:
    world = World()
    world.held = {"build"}
    world.apply(scratch()).settle()
    (pod,) = world.of_kind("Pod")
    pod["status"] = crashed(71, failed("OutOfMemory", "Memory did not suffice. Raise resources.limits.memory."))
    world.reconcile(Ref(MODEL, NAMESPACE, "seed"))
    message = world.status(MODEL, "seed")["lastFailure"]["message"]
    assert message.endswith("(exit code 71): Memory did not suffice. Raise resources.limits.memory.")


def test_a_job_that_failed_for_good_stalls_and_is_tried_again_when_something_changed() -> None:
    world = World()
    world.held = {"build"}
    world.apply(scratch()).settle()
    (job,) = world.jobs("build")
    world.end_pod(job["metadata"]["name"], 65, failed("DigestMismatch", "model.safetensors differs. Replace it."))
    world.settle()
    stalled = world.condition(MODEL, "seed", "Stalled")
    assert stalled is not None
    assert stalled[:2] == ("True", Reason.DIGEST_MISMATCH)
    failure = world.status(MODEL, "seed")["lastFailure"]
    assert failure["exitCode"] == 65
    assert failure["message"] == (
        f"model.safetensors differs. Replace it. Deleting Job {job['metadata']['name']} tries again."
    )
    assert len(world.jobs("build")) == 1, "the same again would fail again"
    world.held = set()
    world.apply(scratch().having("jobs.resources.limits", {"memory": "8Gi"})).settle()
    assert [found["metadata"]["name"][-2:] for found in world.jobs("build")] == ["-0", "-1"]
    assert world.condition(MODEL, "seed", "Ready")[0] == "True"  # type: ignore[index]
    assert "lastFailure" not in world.status(MODEL, "seed")


def test_deleting_the_failed_job_tries_again() -> None:
    world = World()
    world.held = {"build"}
    world.apply(scratch()).settle()
    (job,) = world.jobs("build")
    world.end_pod(job["metadata"]["name"], 64, failed("TokenizerTooSmall", "too little text. Give more."))
    world.settle()
    assert world.condition(MODEL, "seed", "Stalled")[1] == Reason.WORK_FAILED  # type: ignore[index]
    assert world.status(MODEL, "seed")["lastFailure"]["reason"] == "TokenizerTooSmall"
    world.held = set()
    world.drop(Ref.of(job))
    assert world.settle().condition(MODEL, "seed", "Ready")[0] == "True"  # type: ignore[index]


def test_a_killed_training_pod_is_replaced_and_counted() -> None:
    world = World().apply(scratch()).settle()
    world.held = {"train"}
    world.apply(run()).settle()
    (job,) = world.jobs("train")
    world.end_pod(job["metadata"]["name"], 137)
    world.reconcile(Ref(TRAINING, NAMESPACE, "pretrain"))
    assert world.status(TRAINING, "pretrain")["lastFailure"]["reason"] == Reason.CRASHED
    world.held = set()
    world.settle()
    status = world.status(TRAINING, "pretrain")
    assert status["stages"][0]["restarts"] == 1
    assert status["phase"] == "Complete"
    assert "lastFailure" not in status


def test_an_interrupted_pod_is_no_failure() -> None:
    world = World().apply(scratch()).settle()
    world.held = {"train"}
    world.apply(run()).settle()
    world.end_pod(world.jobs("train")[0]["metadata"]["name"], 75)
    world.settle()
    assert "lastFailure" not in world.status(TRAINING, "pretrain")


def test_a_job_that_leaves_no_result_is_not_taken_for_done() -> None:
    world = World()
    world.held = {"build"}
    world.apply(scratch()).settle()
    (job,) = world.jobs("build")
    (pod,) = world.of_kind("Pod")
    world._terminate(pod, 0, "Hello from another image", "Completed")
    world._end_job(job, "Complete")
    world.settle()
    stalled = world.condition(MODEL, "seed", "Stalled")
    assert stalled is not None
    assert "left no result" in stalled[2]


def test_last_words_may_come_late_and_are_asked_for_again_when_they_are_lost() -> None:
    world = World()
    world.held = {"build"}
    world.apply(scratch()).settle()
    (job,) = world.jobs("build")
    for pod in world.of_kind("Pod"):
        world.drop(Ref.of(pod))
    world._end_job(job, "Complete")
    decision = world.decide(Ref(MODEL, NAMESPACE, "seed"))
    assert decision.wake_after is not None
    assert 0 < decision.wake_after <= 20
    world.held = set()
    for _ in range(30):
        world.step()
    assert [found["metadata"]["name"][-2:] for found in world.jobs("build")] == ["-0", "-1"]
    assert world.settle().condition(MODEL, "seed", "Ready")[0] == "True"  # type: ignore[index]


def test_the_old_revision_answers_while_the_new_one_crashes() -> None:
    world = World().apply(scratch(), service()).settle()
    (engine,) = world.of_kind("Deployment")
    world.apply(service().having("engine.maxSequences", 8))
    world.reconcile(Ref(SERVICE, NAMESPACE, "chat"))
    engine["status"] = {
        "observedGeneration": engine["metadata"]["generation"], "replicas": 2, "updatedReplicas": 1, "readyReplicas": 1,
    }  # fmt: skip
    world._new_pod(engine)["status"] = crashed(65, failed("DigestMismatch", "bad bytes. Replace them."))
    world.reconcile(Ref(SERVICE, NAMESPACE, "chat"))
    assert world.condition(SERVICE, "chat", "Ready")[:2] == ("True", "RollingOut")  # type: ignore[index]
    assert world.condition(SERVICE, "chat", "Stalled")[1] == Reason.DIGEST_MISMATCH  # type: ignore[index]


def values(obj: type) -> set[str]:
    return {value for name, value in vars(obj).items() if name.isupper()}


def test_every_reason_for_a_failure_or_a_stall_has_a_remedy() -> None:
    harmless = {
        Reason.READY, Reason.PENDING, Reason.BUILDING, Reason.IMPORTING, Reason.FETCHING, Reason.PUBLISHING,
        Reason.VERIFYING, Reason.QUANTIZING, Reason.EXPORTING, Reason.SIGNING,
        Reason.EVALUATING, Reason.TRAINING, Reason.SUSPENDED, Reason.COMPLETE, Reason.STARTING, Reason.ROLLING_OUT,
        Reason.SCALED_TO_ZERO, Reason.WAITING_FOR_MODEL, Reason.WAITING_FOR_TRAINING_RUN, Reason.REPAIRED,
        Reason.CREATED, Reason.REMOVED, Reason.TERMINATING, Reason.GATE_WARNED, Reason.CACHING,
    }  # fmt: skip
    assert values(Reason) - harmless == set(REMEDIES)


def test_labels_tell_who_a_child_belongs_to() -> None:
    world = World().apply(scratch(), run(), service()).settle()
    for kind in ("Job", "Pod", "PersistentVolumeClaim", "Deployment", "Service", "ConfigMap"):
        for obj in world.of_kind(kind):
            labels: dict[str, Any] = obj["metadata"]["labels"]
            assert {Label.MANAGED_BY, Label.OWNER_KIND, Label.OWNER_NAME, Label.OWNER_UID} <= labels.keys()
