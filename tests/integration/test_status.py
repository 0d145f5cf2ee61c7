"""What people and tools see: columns, kubectl wait, scale, explain, several writers of one status."""

import json
from typing import Any

import pytest
from deepseek_operator.api.crd import RESOURCES, Resource, schema
from deepseek_operator.api.names import API_VERSION

from tests.integration.api import TABLE, Api, path
from tests.integration.conftest import Kubectl
from tests.integration.objects import MAKERS, model, service, training

Object = dict[str, Any]
TIME = "2026-01-01T00:00:00Z"


def condition(type_: str, status: str, reason: str, message: str = "", **more: Any) -> Object:
    return {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": TIME, **more}


def status(obj: Object, **fields: Any) -> Object:
    """An object as the operator applies it to the status subresource."""
    metadata = {key: obj["metadata"][key] for key in ("name", "namespace")}
    return {"apiVersion": API_VERSION, "kind": obj["kind"], "metadata": metadata, "status": fields}


def row(api: Api, obj: Object) -> dict[str, Any]:
    """What `kubectl get -o wide` shows."""
    table = api.get(path(obj), accept=TABLE).ok()
    names = [column["name"] for column in table["columnDefinitions"]]
    return dict(zip(names, table["rows"][0]["cells"], strict=True))


def test_columns_of_a_model(api: Api, namespace: str) -> None:
    obj = api.create(model(namespace)).ok()
    architecture = {
        "name": "DeepseekV3ForCausalLM", "parameters": 671026419200, "layers": 61, "hiddenSize": 7168,
        "attentionHeads": 128, "keyValueHeads": 128, "vocabSize": 129280, "contextLength": 163840,
    }  # fmt: skip
    ready = condition("Ready", "False", "Quantizing", "int8 is being made")
    cost = {"summary": "2.1 hours, 14.20 EUR", "totals": [], "jobs": [], "earlier": []}
    fields = {
        "phase": "Quantizing", "size": "642.7 GiB", "architecture": architecture, "conditions": [ready], "cost": cost,
        "cache": {"claim": "disks", "copies": "3/4", "bytes": 1},
    }  # fmt: skip
    api.apply(status(obj, **fields), "operator", "/status").ok()
    shown = row(api, obj)
    assert shown | {"Age": ""} == {
        "Name": obj["metadata"]["name"], "Ready": "False", "Phase": "Quantizing",
        "Architecture": "DeepseekV3ForCausalLM", "Size": "642.7 GiB", "Parameters": 671026419200, "Digest": None,
        "Cost": "2.1 hours, 14.20 EUR", "Copies": "3/4",
        "Reason": "Quantizing", "Message": "int8 is being made", "Age": "",
    }  # fmt: skip


def test_columns_of_a_run_and_of_a_service(api: Api, namespace: str) -> None:
    run = api.create(training(namespace)).ok()
    progress = {"work": "train one", "phase": "step", "percent": 40, "remaining": "3m20s", "loss": 3.25}
    api.apply(status(run, stage="one", percent=40, progress=progress), "operator", "/status").ok()
    shown = row(api, run)
    assert (shown["Stage"], shown["Percent"], shown["Loss"], shown["Remaining"]) == ("one", 40, 3.25, "3m20s")
    served = api.create(service(namespace, model={"name": "m", "variant": "int8"}, replicas=2)).ok()
    api.apply(status(served, replicas=2, readyReplicas=1, url="http://u"), "operator", "/status").ok()
    shown = row(api, served)
    assert [shown[name] for name in ("Model", "Variant", "Replicas", "Available", "URL")] == [
        "m",
        "int8",
        2,
        1,
        "http://u",
    ]


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.kind)
def test_every_column_and_selectable_field_points_at_a_field(resource: Resource) -> None:
    whole = schema(resource)["properties"]
    for place in (*(column.path for column in resource.columns), *resource.selectable):
        first, *rest = place.removeprefix(".").split("[")[0].split(".")
        if first == "metadata":
            continue
        node = whole[first]
        for step in rest:
            node = node["properties"][step]


def test_kubectl_wait_believes_a_status_only_for_its_generation(api: Api, namespace: str, kubectl: Kubectl) -> None:
    obj = api.create(model(namespace)).ok()
    wait = ("wait", "--for=condition=Ready", f"dsm/{obj['metadata']['name']}", "-n", namespace)

    def waits() -> bool:
        try:
            kubectl(*wait, "--timeout=300ms")
        except AssertionError as error:
            return "timed out" in str(error)
        return False

    assert waits()
    ready = [condition("Ready", "True", "Ready")]
    api.apply(status(obj, observedGeneration=1, conditions=ready), "operator", "/status").ok()
    kubectl(*wait, "--timeout=5s")
    api.merge(obj, {"spec": {"storage": {"size": "20Gi"}}}).ok()
    assert waits()


def test_scale(api: Api, namespace: str, kubectl: Kubectl) -> None:
    obj = api.create(service(namespace)).ok()
    selector = "app=x"
    api.apply(status(obj, replicas=1, selector=selector), "operator", "/status").ok()
    kubectl("scale", "dsis", obj["metadata"]["name"], "-n", namespace, "--replicas=3")
    scale = api.get(path(obj) + "/scale").ok()
    assert scale["spec"] == {"replicas": 3}
    assert scale["status"] == {"replicas": 1, "selector": selector}
    assert api.get(path(obj)).ok()["spec"]["replicas"] == 3


def test_the_status_is_not_the_specs_writers_and_the_other_way_round(api: Api, namespace: str) -> None:
    obj = api.create({**model(namespace), "status": {"phase": "Ready"}}).ok()
    assert "phase" not in obj["status"]
    changed = {**status(obj, phase="Ready"), "spec": {"storage": {"size": "99Gi"}}}
    after = api.apply(changed, "operator", "/status").ok()
    assert after["status"]["phase"] == "Ready"
    assert after["spec"]["storage"]["size"] == "10Gi"
    assert after["metadata"]["generation"] == 1


def test_two_writers_each_have_their_conditions(api: Api, namespace: str) -> None:
    obj = api.create(service(namespace)).ok()
    api.apply(status(obj, conditions=[condition("Ready", "True", "Ready")]), "operator", "/status").ok()
    api.apply(status(obj, conditions=[condition("Audited", "True", "Done")]), "somebody", "/status").ok()
    api.apply(status(obj, conditions=[condition("Ready", "False", "Crashed")]), "operator", "/status").ok()
    found = {entry["type"]: entry["status"] for entry in api.get(path(obj)).ok()["status"]["conditions"]}
    assert found == {"Ready": "False", "Audited": "True"}


@pytest.mark.parametrize("kind", MAKERS)
def test_kubectl_finds_it_by_short_name_and_category(kind: str, api: Api, namespace: str, kubectl: Kubectl) -> None:
    obj = api.create(MAKERS[kind](namespace)).ok()
    short = next(resource.short_name for resource in RESOURCES if resource.kind == kind)
    found = json.loads(kubectl("get", f"deepseek,{short}", "-n", namespace, "-o", "json"))["items"]
    assert {item["metadata"]["uid"] for item in found} == {obj["metadata"]["uid"]}


def test_services_of_a_model_can_be_selected(api: Api, namespace: str, kubectl: Kubectl) -> None:
    for name in ("a", "a", "b"):
        api.create(service(namespace, model={"name": name})).ok()
    names = kubectl("get", "dsis", "-n", namespace, "--field-selector=spec.model.name=a", "-o", "name")
    assert len(names.split()) == 2


def test_explain_reads_like_the_reference(kubectl: Kubectl) -> None:
    text = " ".join(kubectl("explain", "dsis.spec.parallelism.tensor").split())
    assert "Processes in one pod that share every layer; it must divide the attention heads." in text
    for resource in RESOURCES:
        assert resource.description in " ".join(kubectl("explain", resource.short_name).split())


def test_kinds_in_the_table_are_those_of_the_maker(api: Api) -> None:
    served = api.get(f"/apis/{API_VERSION}").ok()["resources"]
    assert {entry["kind"] for entry in served if "/" not in entry["name"]} == {*MAKERS}
    assert {entry["name"] for entry in served if "/scale" in entry["name"]} == {"inferenceservices/scale"}
