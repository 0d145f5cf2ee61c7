"""Runs over two pods: what stops one, and what sets it going again."""

import json
import time

import pytest

from examples.quickstart.kube import kubectl
from tests.e2e import journey
from tests.e2e.cluster import Object, apply, items, kill, make_namespace, read, wait, wait_for_condition

NAMESPACE = "e2e-pods"
RUN = "pair"
STEPS = 900  # enough to be stopped twice in the middle, where a status tells of progress every 15 s
SHARED = {**journey.STORAGE, "accessModes": ["ReadWriteMany"]}


@pytest.fixture(scope="module")
def base() -> None:
    """A model that several nodes can read."""
    make_namespace(NAMESPACE)
    seed = journey.scratch(NAMESPACE, "seed")
    seed["spec"]["storage"] = SHARED
    apply(journey.text(NAMESPACE), seed)
    wait_for_condition("deepseekmodels", NAMESPACE, "seed", "Ready", "True", timeout=180)


def pair(steps: int, storage: Object = SHARED) -> Object:
    run = journey.training(NAMESPACE, RUN, steps=steps, every=50)
    run["spec"]["compute"] |= {"nodes": 2, "processes": 1, "parallelism": {"strategy": "fsdp"}}
    run["spec"]["checkpoint"]["storage"] = storage
    return run


def stage() -> Object:
    found: Object = read("trainingruns", NAMESPACE, RUN)["status"]["stages"][0]
    return found


def pods() -> list[Object]:
    selector = f"deepseek-operator.io/owner-name={RUN},deepseek-operator.io/work=train"
    return [pod for pod in items("pods", NAMESPACE, selector) if pod["status"]["phase"] in ("Pending", "Running")]


def test_a_lost_pod_and_a_pause_on_two_pods(base: None) -> None:
    apply(pair(STEPS, {**SHARED, "accessModes": ["ReadWriteOnce"]}))
    refused = wait_for_condition("trainingruns", NAMESPACE, RUN, "Stalled", "True", timeout=30)
    assert refused["reason"] == "NeedsSharedVolume"
    assert pods() == []
    kubectl("delete", "dstr", RUN, "-n", NAMESPACE, "--timeout=60s")

    apply(pair(STEPS))
    wait("a checkpoint", lambda: int(stage().get("checkpointStep") or 0) > 0, timeout=180)
    (second,) = (pod for pod in pods() if pod["metadata"]["name"].rpartition("-")[0].endswith("-1"))
    kill(second)
    name = second["metadata"]["name"]
    wait(
        "the lost pod's name", lambda: read("trainingruns", NAMESPACE, RUN)["status"]["lastFailure"]["pod"] == name, 30
    )
    # the kubelet tells that a container has ended before it calls its pod failed, and stages are written every 15 s
    wait("the restart in the status", lambda: bool(stage()["restarts"] == 1), timeout=40)
    wait("another pod in its place", lambda: len(pods()) == 2, timeout=60)
    before = stage()["checkpointStep"]
    wait("going on", lambda: int(stage()["checkpointStep"]) > before, timeout=180)

    kubectl("patch", "dstr", RUN, "-n", NAMESPACE, "--type=merge", "-p", json.dumps({"spec": {"suspend": True}}))
    wait("no pods", lambda: not pods(), timeout=150)
    assert read("trainingruns", NAMESPACE, RUN)["status"]["phase"] == "Suspended"
    kubectl("patch", "dstr", RUN, "-n", NAMESPACE, "--type=merge", "-p", json.dumps({"spec": {"suspend": False}}))
    wait_for_condition("trainingruns", NAMESPACE, RUN, "Ready", "True", timeout=400)
    assert stage()["step"] == STEPS
    assert stage()["restarts"] == 1


def test_a_pair_that_cannot_start_or_go_on_waits_for_its_correction(base: None) -> None:
    def pair(**storage: str) -> Object:
        run = journey.training(NAMESPACE, "stuck", steps=20, every=10)
        run["spec"]["stages"][0]["data"] = [{"configMap": {"name": "lines", "key": "train.txt"}}]
        run["spec"]["compute"] |= {"nodes": 2, "processes": 1, "parallelism": {"strategy": "fsdp"}}
        run["spec"]["checkpoint"]["storage"] = {**SHARED, **storage}
        return run

    def lines(text: str) -> Object:
        meta = {"name": "lines", "namespace": NAMESPACE}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"train.txt": text}}

    def failure(reason: str) -> None:
        wait(reason, lambda: read("trainingruns", NAMESPACE, "stuck")["status"]["lastFailure"]["reason"] == reason, 30)

    def jobs() -> list[tuple[str, str]]:
        found = items("jobs", NAMESPACE, "deepseek-operator.io/owner-name=stuck")
        return [(job["metadata"]["name"], job["metadata"]["uid"]) for job in found]

    nowhere = pair(storageClassName="none-such")
    nowhere["spec"]["compute"]["nodeSelector"] = {"disk": "none-such"}
    apply(lines("too short"), nowhere)
    failure("VolumeMissing")
    nowhere["spec"]["checkpoint"]["storage"] = SHARED
    apply(nowhere)
    failure("Unschedulable")
    apply(pair())
    wait_for_condition("trainingruns", NAMESPACE, "stuck", "Stalled", "True", timeout=120, reason="TextTooShort")
    failed = jobs()
    time.sleep(10)
    assert jobs() == failed, "what failed for good is not started again"
    apply(lines(journey.text(NAMESPACE)["data"]["train.txt"]))
    ((name, _),) = failed
    kubectl("delete", "job", name, "-n", NAMESPACE)
    wait_for_condition("trainingruns", NAMESPACE, "stuck", "Ready", "True", timeout=180)
