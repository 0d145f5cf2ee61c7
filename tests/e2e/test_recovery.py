"""kill -9 of everything in the middle of its work, drift, lost statuses, and deletion."""

import json
import time

from examples.quickstart.demo import OPERATOR_NAMESPACE
from examples.quickstart.kube import kubectl
from tests.e2e import journey
from tests.e2e.cluster import (
    Caller,
    Object,
    apply,
    items,
    kill,
    make_namespace,
    only_pod,
    read,
    wait,
    wait_for_condition,
)

STEPS = 1000  # enough to be killed in the middle: a status tells of progress every 15 s
OPERATOR = "app.kubernetes.io/component=operator"


def operator_pod() -> Object:
    return only_pod(OPERATOR_NAMESPACE, OPERATOR)


def kill_operator() -> None:
    """kill -9, and until it is there again: a container that ends twice in a row waits before it starts."""
    pod = operator_pod()

    def container() -> Object:
        (status,) = read("pods", OPERATOR_NAMESPACE, pod["metadata"]["name"])["status"]["containerStatuses"]
        found: Object = status
        return found

    restarts = container()["restartCount"]
    kill(pod)
    wait("the operator", lambda: container()["restartCount"] > restarts and container()["ready"], timeout=90)


def wait_for_an_answer(caller: Caller) -> None:
    ask = {"model": "chat", "prompt": "Hello", "max_tokens": 2}
    wait("an answer", lambda: caller.post(ask)[0] == 200, timeout=30)


def test_a_killed_training_pod_and_a_killed_operator(life: str) -> None:
    run = "interrupted"
    apply(journey.training(life, run, steps=STEPS, every=100))

    def step() -> int:
        return int(read("trainingruns", life, run)["status"]["stages"][0].get("checkpointStep") or 0)

    wait("a checkpoint", lambda: step() > 0, timeout=120)
    kill(operator_pod())
    before = step()
    kill(only_pod(life, f"deepseek-operator.io/owner-name={run}"))
    wait_for_condition("trainingruns", life, run, "Ready", "True", timeout=400)
    stage = read("trainingruns", life, run)["status"]["stages"][0]
    assert stage["step"] == STEPS
    assert stage["restarts"] == 1
    assert before >= 100


def test_a_killed_engine_answers_again(life: str, caller: Caller) -> None:
    kill(only_pod(life, "deepseek-operator.io/owner-name=chat"))
    wait("the failure in the status", lambda: "lastFailure" in read("inferenceservices", life, "chat")["status"], 10)
    wait_for_condition("inferenceservices", life, "chat", "Ready", "True", timeout=120)
    wait_for_an_answer(caller)


def test_a_hand_edited_child_is_repaired_at_once(life: str, caller: Caller) -> None:
    before = read("deployments", life, "chat")["spec"]["template"]
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "engine", "args": ["nonsense"]}]}}}}
    kubectl("patch", "deployment", "chat", "-n", life, "-p", json.dumps(patch))
    wait("the repair", lambda: read("deployments", life, "chat")["spec"]["template"] == before, timeout=5)
    uid = read("services", life, "chat")["metadata"]["uid"]
    kubectl("delete", "service", "chat", "-n", life)
    wait("a new Service", lambda: read("services", life, "chat")["metadata"]["uid"] != uid, timeout=5)
    wait_for_condition("inferenceservices", life, "chat", "Ready", "True", timeout=120)
    wait_for_an_answer(caller)  # the new Service has another address, which DNS and the node's rules come to know


def test_nothing_is_computed_again_when_statuses_and_jobs_are_lost(life: str) -> None:
    wait_for_condition("deepseekmodels", life, "handbook", "Ready", "True", timeout=60)
    before = read("deepseekmodels", life, "handbook")["status"]
    stage = read("trainingruns", life, "pretrain")["status"]["stages"][0]
    owners = "deepseek-operator.io/owner-name in (seed,handbook,pretrain)"
    claims = {claim["metadata"]["uid"] for claim in items("persistentvolumeclaims", life, owners)}
    kubectl("scale", "deployment", "-n", OPERATOR_NAMESPACE, "-l", OPERATOR, "--replicas=0")
    wait("no operator", lambda: not items("pods", OPERATOR_NAMESPACE, OPERATOR), timeout=40)
    kubectl("delete", "jobs", "--all", "-n", life)
    for kind, name in (("dsm", "seed"), ("dsm", "handbook"), ("dstr", "pretrain"), ("dsis", "chat")):
        kubectl("patch", kind, name, "-n", life, "--subresource=status", "--type=merge", "-p", '{"status": null}')
    kubectl("scale", "deployment", "-n", OPERATOR_NAMESPACE, "-l", OPERATOR, "--replicas=1")
    wait_for_condition("trainingruns", life, "pretrain", "Ready", "True", timeout=150)
    wait_for_condition("deepseekmodels", life, "handbook", "Ready", "True", timeout=150)
    wait_for_condition("inferenceservices", life, "chat", "Ready", "True", timeout=60)
    after = read("deepseekmodels", life, "handbook")["status"]
    assert [artifact["digest"] for artifact in after["artifacts"]] == [a["digest"] for a in before["artifacts"]]
    assert [artifact["scores"] for artifact in after["artifacts"]] == [a["scores"] for a in before["artifacts"]]
    assert read("trainingruns", life, "pretrain")["status"]["stages"][0]["seconds"] == stage["seconds"]
    assert {claim["metadata"]["uid"] for claim in items("persistentvolumeclaims", life, owners)} == claims


def test_a_published_model_is_found_on_its_volume_after_its_run_is_gone(life: str) -> None:
    name, run = "keepsake", "short"
    apply(journey.training(life, run, steps=20, every=20), journey.trained(life, name, run))
    wait_for_condition("deepseekmodels", life, name, "Ready", "True", timeout=240)
    before = read("deepseekmodels", life, name)["status"]
    # A pod holds the claims that it names as long as it exists, also the run's after the copy is made.
    kubectl("delete", "jobs", "-n", life, "-l", f"deepseek-operator.io/owner-name={name}")
    kubectl("delete", "dstr", run, "-n", life, "--cascade=foreground", "--timeout=60s")
    kubectl("scale", "deployment", "-n", OPERATOR_NAMESPACE, "-l", OPERATOR, "--replicas=0")
    wait("no operator", lambda: not items("pods", OPERATOR_NAMESPACE, OPERATOR), timeout=40)
    kubectl("patch", "dsm", name, "-n", life, "--subresource=status", "--type=merge", "-p", '{"status": null}')
    kubectl("scale", "deployment", "-n", OPERATOR_NAMESPACE, "-l", OPERATOR, "--replicas=1")
    wait_for_condition("deepseekmodels", life, name, "Ready", "True", timeout=150)
    after = read("deepseekmodels", life, name)["status"]
    assert after["lineage"] == before["lineage"]
    for old, new in zip(before["artifacts"], after["artifacts"], strict=True):
        assert (new["digest"], new["claim"], new["seconds"]) == (old["digest"], old["claim"], old["seconds"])
    kubectl("delete", "dsm", name, "-n", life, "--timeout=60s")


def test_a_settled_cluster_is_left_alone(life: str) -> None:
    def versions() -> list[str]:
        kinds = "dsm,dstr,dsis,jobs,deployments.apps,services,persistentvolumeclaims"
        found = json.loads(kubectl("get", kinds, "-n", life, "-o", "json"))["items"]
        return [item["metadata"]["resourceVersion"] for item in found]

    time.sleep(16)
    before = versions()
    kill_operator()
    time.sleep(10)
    assert versions() == before


def test_a_model_in_use_waits_and_everything_goes_in_the_foreground(life: str) -> None:
    namespace = "e2e-deletion"
    make_namespace(namespace)
    apply(journey.text(namespace), journey.scratch(namespace, "seed"), journey.service(namespace, "chat", "seed"))
    wait_for_condition("inferenceservices", namespace, "chat", "Ready", "True", timeout=120)
    kubectl("delete", "dsm", "seed", "-n", namespace, "--wait=false", "--cascade=foreground")
    blocked = wait_for_condition("deepseekmodels", namespace, "seed", "DeletionBlocked", "True", timeout=10)
    assert "chat" in blocked["message"]
    kubectl("delete", "dsis", "chat", "-n", namespace, "--cascade=foreground", "--timeout=60s")
    wait("the model is gone", lambda: not json.loads(kubectl("get", "dsm", "-n", namespace, "-o", "json"))["items"], 60)
    wait("no child is left", lambda: not items("jobs,pods,deployments,persistentvolumeclaims", namespace), 60)
    routes = items("configmaps", OPERATOR_NAMESPACE, f"deepseek-operator.io/owner-namespace={namespace}")
    assert routes == []
    kubectl("delete", "namespace", namespace, "--timeout=120s")
