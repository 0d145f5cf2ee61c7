"""What the chart renders: valid for the API server, restricted, and no value accepted that has no effect."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from deepseek_operator.api.price_sheet import EXAMPLE, PriceSheet

from tests.integration.api import Api
from tests.integration.conftest import CHART, RELEASE_NAMESPACE, Kubectl

Object = dict[str, Any]
EVERYTHING: Object = {
    "imagePullSecrets": ["registry"],
    "operator": {
        "replicas": 2,
        "image": {"digest": "sha256:" + "0" * 64},
        "podLabels": {"team": "x"},
        "podAnnotations": {"a": "b"},
        "nodeSelector": {"a": "b"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "priorityClassName": "high",
        "serviceAccount": {"annotations": {"cloud": "identity"}},
    },
    "gateway": {
        "replicas": 2,
        "url": "https://models.example.com",
        "storage": {"size": 1073741824, "storageClassName": "fast"},
        "service": {"type": "LoadBalancer", "port": 8443, "annotations": {"a": "b"}},
    },
    "networkPolicies": {"enabled": False},
}


def render(kube: Path, values: Object, release: str = "deepseek") -> list[Object]:
    """All objects of the chart; fails with what helm says."""
    command = [str(kube), "helm", "template", release, str(CHART), "--namespace", RELEASE_NAMESPACE, "--values", "-"]
    done = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [obj for obj in yaml.safe_load_all(done.stdout) if obj]


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [obj for obj in objects if obj["kind"] in kinds]


@pytest.mark.parametrize(
    "values", [{}, EVERYTHING, {"watchNamespaces": ["default"]}], ids=("none", "all", "namespaces")
)
def test_the_api_server_accepts_every_object(values: Object, kube: Path, kubectl: Kubectl) -> None:
    objects = render(kube, values, "another")
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    options = ("--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict")
    kubectl("apply", *options, "-f", "-", text=text)


def test_every_pod_is_restricted(kube: Path, api: Api, namespace: str) -> None:
    api.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "default"}})
    workloads = of_kind(render(kube, {}), "Deployment", "StatefulSet", "Job")
    assert len(workloads) == 3
    for workload in workloads:
        claims = [claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", ())]
        spec = {**workload["spec"]["template"]["spec"], "serviceAccountName": "default"}
        spec["volumes"] += [{"name": name, "emptyDir": {}} for name in claims]
        pod = {"metadata": {"name": "pod"}, "spec": spec}
        api.request("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldValidation=Strict", pod).ok()


def test_the_operator_reads_the_price_sheet_and_starts_anew_with_another(kube: Path) -> None:
    def rendered(values: Object) -> tuple[PriceSheet, str]:
        objects = render(kube, values)
        (sheet,) = [obj for obj in of_kind(objects, "ConfigMap") if "sheet.json" in obj["data"]]
        (operator,) = of_kind(objects, "Deployment")
        annotations = operator["spec"]["template"]["metadata"]["annotations"]
        found = PriceSheet.model_validate_json(sheet["data"]["sheet.json"])
        return found, annotations["deepseek-operator.io/price-sheet"]

    row = {"name": "big", "memoryGiB": 80, "hourly": "2.50"}
    changed = {
        "priceSheet": {"name": "ours", "version": "7", "gpus": [row]},
        "operator": {"podAnnotations": {"a": "b"}},
    }
    assert rendered({})[0] == EXAMPLE
    assert rendered(changed)[0].gpus[0].hourly_micros == 2_500_000
    assert rendered(changed)[1] != rendered({})[1] == rendered({"operator": {"podAnnotations": {"a": "b"}}})[1]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"priceSheet": {"gpus": [{"name": "a", "memoryGiB": 80}]}}, "hourly"),
        ({"priceSheet": {"gpus": [{"name": "a", "memoryGiB": 80, "hourly": 2.5}]}}, "hourly"),
        ({"operator": {"replica": 2}}, "replica"),
        ({"operator": {"replicas": "two"}}, "replicas"),
        ({"operator": {"replicas": -1}}, "replicas"),
        ({"runtime": {"image": {"pullPolicy": "Sometimes"}}}, "pullPolicy"),
        ({"runtime": {"image": {"digest": "latest"}}}, "digest"),
        ({"gateway": {"url": "models.example.com"}}, "url"),
        ({"gateway": {"storage": {"size": "big"}}}, "size"),
        ({"watchNamespaces": "team-a"}, "watchNamespaces"),
        ({"gatway": {}}, "gatway"),
    ],
    ids=str,
)
def test_nonsense_is_refused_by_name(values: Object, said: str, kube: Path) -> None:
    with pytest.raises(AssertionError, match=said):
        render(kube, values)


def test_watched_namespaces_leave_no_right_elsewhere(kube: Path) -> None:
    objects = render(kube, {"watchNamespaces": ["team-a"], "crds": {"install": False}})
    bound = {
        binding["roleRef"]["name"]
        for binding in of_kind(objects, "ClusterRoleBinding")
        if binding["subjects"][0]["namespace"] == RELEASE_NAMESPACE
    }
    roles = {role["metadata"]["name"]: role for role in of_kind(objects, "ClusterRole")}
    granted = {resource for name in bound for rule in roles[name]["rules"] for resource in rule["resources"]}
    assert granted == {"tokenreviews", "subjectaccessreviews"}
    assert {role["metadata"]["namespace"] for role in of_kind(objects, "Role")} == {"team-a", RELEASE_NAMESPACE}


def test_crds_stay_unless_told_otherwise(kube: Path) -> None:
    for keep, annotation in ((True, "keep"), (False, None)):
        crds = of_kind(render(kube, {"crds": {"keep": keep}}), "CustomResourceDefinition")
        assert len(crds) == 3
        for crd in crds:
            assert crd["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == annotation
    assert not of_kind(render(kube, {"crds": {"install": False}}), "CustomResourceDefinition")


def test_values_reach_the_operator(kube: Path) -> None:
    values = {**EVERYTHING, "runtime": {"image": {"repository": "r/runtime", "tag": "7", "pullPolicy": "Never"}}}
    (deployment,) = of_kind(render(kube, values), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert environment["DEEPSEEK_RUNTIME_IMAGE"] == "r/runtime:7"
    assert environment["DEEPSEEK_IMAGE_PULL_POLICY"] == "Never"
    assert environment["DEEPSEEK_GATEWAY_URL"] == "https://models.example.com"
    assert container["image"] == "deepseek-operator/operator@sha256:" + "0" * 64


def test_a_service_monitor_selects_what_the_chart_serves(kube: Path) -> None:
    objects = render(kube, {"metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}})
    services = of_kind(objects, "Service")
    monitors = of_kind(objects, "ServiceMonitor")
    assert len(monitors) == 2
    for monitor in monitors:
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        ports = [
            port["name"]
            for service in services
            if wanted <= service["metadata"]["labels"].items()
            for port in service["spec"]["ports"]
        ]
        assert ports.count(monitor["spec"]["endpoints"][0]["port"]) == 1
