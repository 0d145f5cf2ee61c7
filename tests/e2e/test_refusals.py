"""What cannot work says so within ten seconds, names the way out, and does not loop."""

import json
from collections.abc import Iterator

import pytest

from examples.quickstart.kube import condition, kubectl
from examples.quickstart.target import Failed
from tests.e2e import journey
from tests.e2e.cluster import apply, items, make_namespace, program_pod, read, wait, wait_for_condition

SOON = 10.0
NAMESPACE = "e2e-refusals"
SPOILS_ITS_WEIGHTS = """
import glob
file = open(glob.glob("/v/artifact/*.safetensors")[0], "r+b")
file.seek(-3, 2)
file.write(b"x")
"""


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    make_namespace(NAMESPACE)
    apply(journey.text(NAMESPACE))
    yield NAMESPACE
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def failure(kind: str, namespace: str, name: str, reason: str, timeout: float = SOON) -> str:
    """The message of the failure, once the resource shows it."""
    wait(
        f"{reason} on {kind}/{name}",
        lambda: read(kind, namespace, name)["status"]["lastFailure"]["reason"] == reason,
        timeout,
    )
    assert read(kind, namespace, name)["status"]["conditions"]
    return str(read(kind, namespace, name)["status"]["lastFailure"]["message"])


def test_an_unknown_architecture_is_refused_by_the_api_server(namespace: str) -> None:
    with pytest.raises(Failed, match="DeepSeekV3"):
        apply(journey.scratch(namespace, "mamba", architecture="Mamba"))


def test_an_impossible_size(namespace: str) -> None:
    apply(journey.scratch(namespace, "huge", hidden_size=16384, num_hidden_layers=80, n_routed_experts=256))
    stalled = wait_for_condition("deepseekmodels", namespace, "huge", "Stalled", "True", SOON, "StorageTooSmall")
    assert "storage.size" in stalled["message"]
    assert items("jobs", namespace, "deepseek-operator.io/owner-name=huge") == []


def test_a_key_that_the_architecture_lacks(namespace: str) -> None:
    apply(journey.scratch(namespace, "typo", hiden_size=64))
    stalled = wait_for_condition("deepseekmodels", namespace, "typo", "Stalled", "True", SOON, "InvalidConfig")
    assert "hiden_size" in stalled["message"]


def test_heads_that_cannot_be_split(life: str) -> None:
    apply(journey.service(life, "odd", "handbook", "int8", tensor=3))
    stalled = wait_for_condition("inferenceservices", life, "odd", "Stalled", "True", SOON, "HeadsNotDivisible")
    assert "4" in stalled["message"]
    kubectl("delete", "dsis", "odd", "-n", life)


def test_a_node_that_nobody_has_and_a_model_that_asks_for_it_no_more(namespace: str) -> None:
    model = journey.scratch(namespace, "elsewhere")
    apply({**model, "spec": {**model["spec"], "jobs": {**journey.SMALL_POD, "nodeSelector": {"disk": "none-such"}}}})
    assert "nodeSelector" in failure("deepseekmodels", namespace, "elsewhere", "Unschedulable")
    apply(model)
    wait_for_condition("deepseekmodels", namespace, "elsewhere", "Ready", "True", timeout=120)


def test_a_volume_that_is_not_there(namespace: str) -> None:
    model = journey.scratch(namespace, "volumeless")
    model["spec"]["source"]["scratch"]["tokenizer"]["text"] = [{"claim": {"claimName": "none-such"}}]
    apply(model)
    assert "none-such" in failure("deepseekmodels", namespace, "volumeless", "VolumeMissing")


def test_a_config_map_that_is_not_there(namespace: str) -> None:
    model = journey.scratch(namespace, "textless")
    model["spec"]["source"]["scratch"]["tokenizer"]["text"] = [{"configMap": {"name": "none-such"}}]
    apply(model)
    assert "none-such" in failure("deepseekmodels", namespace, "textless", "VolumeMissing")


def test_too_little_memory(namespace: str) -> None:
    model = journey.scratch(namespace, "cramped")
    limits = {"cpu": "1", "memory": "48Mi"}
    model["spec"]["jobs"] = {"resources": {"requests": {"cpu": "50m", "memory": "48Mi"}, "limits": limits}}
    apply(model)
    assert "memory" in failure("deepseekmodels", namespace, "cramped", "OutOfMemory", timeout=30)
    assert read("deepseekmodels", namespace, "cramped")["status"]["conditions"]


def test_a_storage_class_that_is_not_there_and_a_model_that_names_it_no_more(namespace: str) -> None:
    model = journey.scratch(namespace, "classless")
    classless = {**model["spec"]["storage"], "storageClassName": "none-such"}
    apply({**model, "spec": {**model["spec"], "storage": classless}})
    message = failure("deepseekmodels", namespace, "classless", "VolumeMissing")
    assert "none-such" in message
    assert "kubectl get storageclass" in message
    apply(model)
    wait_for_condition("deepseekmodels", namespace, "classless", "Ready", "True", timeout=120)


def test_a_gpu_that_no_node_has(namespace: str) -> None:
    model = journey.scratch(namespace, "gpu")
    model["spec"]["jobs"] = {
        "resources": {"limits": {**journey.SMALL_POD["resources"]["limits"], "nvidia.com/gpu": 1000}}
    }
    apply(model)
    message = failure("deepseekmodels", namespace, "gpu", "DeviceMissing")
    assert "nvidia.com/gpu" in message
    assert "device plugin" in message


def test_a_quota_that_pods_exceed(life: str) -> None:
    """Of a Job's pods and of a Deployment's; it passes by itself when the quota is raised."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": life}}
    apply({**quota, "spec": {"hard": {"requests.nvidia.com/gpu": "0", "requests.memory": "1Mi"}}})
    try:
        apply(journey.scratch(life, "over"), journey.service(life, "over", "handbook", "int8"))
        for kind in ("deepseekmodels", "inferenceservices"):
            message = failure(kind, life, "over", "QuotaExceeded")
            assert "exceeded quota: none" in message
            assert "kubectl describe quota" in message
            assert condition(read(kind, life, "over"), "Ready")["status"] == "False"
    finally:
        kubectl("delete", "resourcequota", "none", "-n", life)
    wait_for_condition("deepseekmodels", life, "over", "Ready", "True", timeout=120)
    kubectl("delete", "dsis/over", "dsm/over", "-n", life)


def test_a_policy_that_refuses_the_pods(namespace: str) -> None:
    policy, expression = (
        "e2e-refuse-pods",
        "object.metadata.?labels[?'deepseek-operator.io/owner-name'].orValue('') != 'unwanted'",
    )
    meta, api = {"name": policy}, "admissionregistration.k8s.io/v1"
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
    refuse = {
        "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": expression, "message": "no such pods here"}],
    }
    apply(
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": meta, "spec": refuse},
        {
            "apiVersion": api,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": meta,
            "spec": {"policyName": policy, "validationActions": ["Deny"]},
        },
    )
    try:
        wait("the policy at work", lambda: _refused(namespace), timeout=30)
        apply(journey.scratch(namespace, "unwanted"))
        message = failure("deepseekmodels", namespace, "unwanted", "Forbidden")
        assert "no such pods here" in message
        assert "administrator for a policy" in message
    finally:
        kubectl("delete", f"validatingadmissionpolicybinding/{policy}", f"validatingadmissionpolicy/{policy}")


def _refused(namespace: str) -> bool:
    """A policy takes some seconds until all of the API server knows it."""
    pod = program_pod(namespace, "probe", "", "none")
    pod["metadata"]["labels"] = {"deepseek-operator.io/owner-name": "unwanted"}
    try:
        kubectl("create", "--dry-run=server", "-f", "-", text=json.dumps(pod))
    except Failed as error:
        return "no such pods here" in str(error)
    return False


def test_a_tampered_weight_file_is_never_served(life: str) -> None:
    apply(journey.scratch(life, "victim"))
    wait_for_condition("deepseekmodels", life, "victim", "Ready", "True", timeout=90)
    claim = read("deepseekmodels", life, "victim")["status"]["artifacts"][0]["claim"]
    apply(program_pod(life, "vandal", SPOILS_ITS_WEIGHTS, claim))
    wait("the deed", lambda: read("pods", life, "vandal")["status"]["phase"] == "Succeeded", timeout=60)
    apply(journey.service(life, "poisoned", "victim"))
    message = failure("inferenceservices", life, "poisoned", "DigestMismatch", timeout=40)
    assert "model.safetensors" in message
    assert read("inferenceservices", life, "poisoned")["status"].get("readyReplicas", 0) == 0
    kubectl("delete", "dsis/poisoned", "dsm/victim", "pod/vandal", "-n", life)
