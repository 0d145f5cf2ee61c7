"""The operator against the real API server, as the chart's ServiceAccount: a whole life, rest, repair, permissions."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from deepseek_operator.api.names import API_VERSION, MODEL, PLURALS, SERVICE
from deepseek_operator.api.permissions import OPERATOR_NAMESPACE, OPERATOR_TENANTS

from tests.integration.api import MERGE, Api, path
from tests.integration.conftest import RELEASE_NAMESPACE, installed
from tests.integration.control_plane import ControlPlane
from tests.integration.kubelet import Kubelet
from tests.integration.objects import TEXT, model, resource, service, training
from tests.integration.operator_process import OperatorProcess, wait

Object = dict[str, Any]
NAMESPACE = "life"
POLICIES = "networking.k8s.io/v1"
CACHE = {"storage": {"accessModes": ["ReadWriteMany"]}, "cache": {"claimName": "disks", "capacity": "1Gi"}}
NOBODY = {"key": "none", "operator": "Exists"}


@dataclass(frozen=True)
class Life:
    """A namespace with a model that was made, trained, published, quantized, measured and is served."""

    api: Api
    operator: OperatorProcess
    kubelet: Kubelet

    def get(self, kind: str, name: str) -> Object:
        """One of the three resources."""
        return self.api.get(path(resource(kind, NAMESPACE, {}, name))).ok()

    def url(self, group: str, plural: str, name: str = "") -> str:
        """The URL path of a child."""
        return f"/{'apis/' + group if '/' in group else 'api/' + group}/namespaces/{NAMESPACE}/{plural}/{name}".rstrip(
            "/"
        )

    def until_ready(self, kind: str, name: str, seconds: float = 20) -> None:
        """Until a resource is ready for its generation, with pods that work meanwhile."""

        def ready() -> bool:
            self.kubelet.tick()
            obj = self.get(kind, name)
            conditions = {entry["type"]: entry["status"] for entry in obj["status"]["conditions"]}
            current = obj["status"]["observedGeneration"] == obj["metadata"]["generation"]
            return current and conditions.get("Ready") == "True"

        try:
            wait(f"{kind} {name} ready", ready, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.why()}\n{self.operator.log[-3000:]}") from None

    def why(self) -> str:
        """What every resource says of itself."""
        said = []
        for plural in PLURALS.values():
            for obj in self.api.get(self.url(API_VERSION, plural)).ok()["items"]:
                ready = [entry["message"] for entry in obj["status"]["conditions"] if entry["type"] == "Ready"]
                said.append(f"{obj['kind']} {obj['metadata']['name']}: {' '.join(ready)}")
        return "\n".join(said)


@pytest.fixture(scope="module")
def plane(kube: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of its own: what other tests write into statuses is nobody's work."""
    with installed(kube, tmp_path_factory.mktemp("plane")) as found:
        yield found


@pytest.fixture(scope="module")
def operator(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """The running operator."""
    process = OperatorProcess(plane, tmp_path_factory.mktemp("operator"))
    process.start()
    yield process
    process.kill()


@pytest.fixture(scope="module")
def life(plane: ControlPlane, operator: OperatorProcess) -> Life:
    """All three kinds applied at once, and everything done."""
    api = plane.api
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": labels}}).ok()
    for node in ("first", "second"):
        api.request("POST", "/api/v1/nodes", {"metadata": {"name": node}}).ok()
        # a new node is not ready; no kubelet ever says that it is
        api.request("PATCH", f"/api/v1/nodes/{node}", {"spec": {"taints": None}}, MERGE).ok()
    found = Life(api, operator, Kubelet(api, NAMESPACE))
    int8 = {"name": "int8", "quantization": {"scheme": "int8"}}
    for obj in (
        service(NAMESPACE, "chat", model={"name": "tuned", "variant": "int8"}),
        model(
            NAMESPACE,
            "tuned",
            source={"trainingRun": {"name": "run"}},
            variants=[int8],
            evaluation={"text": TEXT},
            **CACHE,
        ),
        training(NAMESPACE, "run", publish={"model": "published"}),
        model(NAMESPACE, "seed"),
    ):
        api.create(obj).ok()
    for kind, name in ((SERVICE, "chat"), (MODEL, "published")):
        found.until_ready(kind, name)
    return found


@pytest.fixture(autouse=True)
def _at_rest(life: Life) -> None:
    life.kubelet.tick()
    life.operator.settle()


def test_a_model_from_scratch_gets_a_volume_and_a_job(life: Life) -> None:
    owner = life.get(MODEL, "seed")["metadata"]["uid"]
    for group, plural in (("v1", "persistentvolumeclaims"), ("batch/v1", "jobs")):
        children = [
            child["metadata"]
            for child in life.api.get(life.url(group, plural)).ok()["items"]
            if child["metadata"]["name"].startswith("seed-")
        ]
        assert [child["ownerReferences"][0]["uid"] for child in children] == [owner], plural


def test_a_route_lies_in_the_operators_namespace_and_goes_with_its_service(life: Life) -> None:
    routes = f"/api/v1/namespaces/{RELEASE_NAMESPACE}/configmaps"
    extra = life.api.create(service(NAMESPACE, model={"name": "tuned"})).ok()
    name = f"{routes}/route-{extra['metadata']['uid']}"
    wait("the route", lambda: life.api.get(name).code == 200, 10)
    life.api.request("DELETE", path(extra)).ok()
    wait("the route's end", lambda: life.api.get(name).code == 404, 10)


@pytest.fixture
def deep() -> Iterator[None]:
    """Room for json to write and read what is nested deep."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    yield
    sys.setrecursionlimit(limit)


@pytest.mark.usefixtures("deep")
@pytest.mark.parametrize("levels", [300, 9_000])
def test_a_spec_that_is_nested_without_end_is_refused_and_stops_nobody(life: Life, levels: int) -> None:
    """Where a schema is open the API server takes ten thousand levels; readers in Python give up far before."""
    nested: Any = {}
    for _ in range(levels):
        nested = {"a": nested}
    strange = model(NAMESPACE, f"nested-{levels}")
    strange["spec"]["source"]["scratch"]["config"] |= {"rope_scaling": nested}
    life.api.create(strange).ok()

    def refused() -> bool:
        conditions = life.get(MODEL, strange["metadata"]["name"]).get("status", {}).get("conditions", [])
        return any((entry["type"], entry["status"]) == ("Stalled", "True") for entry in conditions)

    wait("the refusal", refused, 20)
    assert life.operator.stop() == 0
    life.operator.start()
    other = model(NAMESPACE, f"beside-{levels}")
    life.api.create(other).ok()
    life.until_ready(MODEL, other["metadata"]["name"])
    for each in (strange, other):
        life.api.request("DELETE", path(each)).ok()


def test_nothing_is_written_at_rest(life: Life) -> None:
    position = life.operator.position()
    life.operator.settle(quiet=4)
    requests = [request for request in life.operator.requests(position) if request.verb != "watch"]
    assert [request for request in requests if request.resource != "leases"] == []


def test_a_restart_writes_nothing_and_ends_well(life: Life) -> None:
    position = life.operator.position()
    assert life.operator.stop() == 0
    life.operator.start()
    life.operator.settle()
    assert [request for request in life.operator.requests(position) if request.write] == []


@pytest.mark.parametrize(
    ("group", "plural", "patch"),
    [
        ("apps/v1", "deployments", {"spec": {"replicas": 7}}),
        ("apps/v1", "deployments", {"metadata": {"labels": {"app.kubernetes.io/name": "mine"}}}),
        ("v1", "services", {"spec": {"ports": [{"name": "http", "port": 1}]}}),
        ("v1", "services", {"spec": {"selector": {"app": "mine"}}}),
        (POLICIES, "networkpolicies", {"spec": {"egress": [{}]}}),
        (POLICIES, "networkpolicies", {"spec": {"ingress": []}}),
        (POLICIES, "networkpolicies", {"spec": {"podSelector": {"matchExpressions": [NOBODY]}}}),
    ],
    ids=str,
)
def test_what_somebody_changed_by_hand_is_repaired(group: str, plural: str, patch: Object, life: Life) -> None:
    place = life.url(group, plural, "inferenceservice-chat" if group == POLICIES else "chat")

    def wanted(obj: Object) -> Object:
        return {"spec": obj["spec"], "labels": obj["metadata"]["labels"]}

    before = wanted(life.api.get(place).ok())
    edited = life.api.request("PATCH", f"{place}?fieldManager=somebody", patch, MERGE).ok()
    assert wanted(edited) != before
    wait("the repair", lambda: wanted(life.api.get(place).ok()) == before, 5)


def test_a_deleted_child_is_made_again(life: Life) -> None:
    place = life.url("v1", "services", "chat")
    uid = life.api.get(place).ok()["metadata"]["uid"]
    life.api.request("DELETE", place).ok()
    wait("a new Service", lambda: life.api.get(place).body["metadata"].get("uid", uid) != uid, 5)


def test_a_model_in_use_is_held_and_then_let_go(life: Life) -> None:
    obj = life.api.create(model(NAMESPACE)).ok()
    user = life.api.create(service(NAMESPACE, model={"name": obj["metadata"]["name"]})).ok()
    life.until_ready(SERVICE, user["metadata"]["name"])
    life.api.request("DELETE", path(obj)).ok()

    def blocked() -> bool:
        conditions = life.api.get(path(obj)).ok()["status"]["conditions"]
        return any(
            entry["type"] == "DeletionBlocked" and user["metadata"]["name"] in entry["message"] for entry in conditions
        )

    wait("DeletionBlocked", blocked, 10)
    life.api.request("DELETE", path(user)).ok()
    wait("the model's end", lambda: life.api.get(path(obj)).code == 404, 10)


def test_what_is_no_longer_wanted_is_stopped_and_removed(life: Life) -> None:
    life.kubelet.held.add("-quantize-")
    int8 = {"name": "int8", "quantization": {"scheme": "int8"}}
    obj = life.api.create(model(NAMESPACE, variants=[int8])).ok()
    name = obj["metadata"]["name"]

    def quantizing() -> bool:
        life.kubelet.tick()
        jobs = life.api.get(life.url("batch/v1", "jobs")).ok()["items"]
        return any(job["metadata"]["name"].startswith(f"{name}-quantize-") for job in jobs)

    wait("the Job", quantizing, 20)
    life.api.merge(obj, {"spec": {"variants": []}}).ok()
    wait("the Job's end", lambda: not quantizing(), 10)
    life.kubelet.held.clear()
    life.until_ready(MODEL, name)
    claims = life.url("v1", "persistentvolumeclaims")

    def left() -> list[str]:
        found = life.api.get(claims).ok()["items"]
        return [claim["metadata"]["name"] for claim in found if claim["metadata"]["name"].startswith(f"{name}-")]

    wait("one volume", lambda: len(left()) == 1, 10)


def test_suspending_a_run_reaches_its_job(life: Life) -> None:
    life.kubelet.held.add("-train-")
    run = life.api.create(training(NAMESPACE)).ok()

    def job() -> Object | None:
        jobs = life.api.get(life.url("batch/v1", "jobs")).ok()["items"]
        return next((each for each in jobs if each["metadata"]["name"].startswith(f"{run['metadata']['name']}-")), None)

    wait("the Job", lambda: job() is not None, 10)
    life.api.merge(run, {"spec": {"suspend": True}}).ok()
    wait("its suspension", lambda: bool((job() or {"spec": {}})["spec"].get("suspend")), 10)
    life.api.request("DELETE", path(run)).ok()
    life.kubelet.held.clear()


def test_copies_on_nodes_are_counted_repaired_and_let_go(life: Life) -> None:
    obj = life.api.create(model(NAMESPACE, **CACHE)).ok()
    name = obj["metadata"]["name"]
    life.until_ready(MODEL, name)

    def copies() -> str | None:
        life.kubelet.tick()
        cache = life.get(MODEL, name)["status"].get("cache", {})
        return str(cache["copies"]) if cache else None

    def sets() -> list[Object]:
        found = life.api.get(life.url("apps/v1", "daemonsets")).ok()["items"]
        return [each for each in found if each["metadata"]["name"].startswith(f"{name}-cache-")]

    wait("a copy on each of two nodes", lambda: copies() == "2/2", 20)
    (before,) = sets()
    place = life.url("apps/v1", "daemonsets", before["metadata"]["name"])
    edit = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 99}}}}
    life.api.request("PATCH", f"{place}?fieldManager=somebody", edit, MERGE).ok()
    wait("the repair", lambda: life.api.get(place).ok()["spec"]["template"] == before["spec"]["template"], 5)
    life.api.merge(obj, {"spec": {"cache": None}}).ok()
    wait("the end of the copies", lambda: not sets() and copies() is None, 10)


REASONS = {
    ("get", "jobs"): "the sweep fetches what a watch has missed, and a Job whose name is taken is looked at",
    ("get", "persistentvolumeclaims"): "likewise",
    ("get", "deployments"): "the sweep fetches what a watch has missed, and an object whose name is taken is looked at",
    ("get", "daemonsets"): "likewise",
    ("get", "services"): "likewise",
    ("get", "configmaps"): "likewise",
    ("get", "networkpolicies"): "likewise",
    ("get", "pods"): "the sweep fetches what a watch has missed",
    ("get", "deepseekmodels"): "likewise",
    ("get", "trainingruns"): "likewise",
    ("get", "inferenceservices"): "likewise",
    ("patch", "persistentvolumeclaims"): "a volume grows only where its StorageClass lets it",
    ("patch", "events"): "the second of two equal events within ten minutes counts up the first",
    ("get", "namespaces"): "asked where a model that is in use is deleted",
    ("list", "events"): "asked where a child is in trouble for seconds",
    ("update", "deepseekmodels/finalizers"): "checked by the server for owner references, never requested",
    ("update", "trainingruns/finalizers"): "likewise",
    ("update", "inferenceservices/finalizers"): "likewise",
    ("delete", "jobs"): "asked where work is no longer wanted",
    ("delete", "persistentvolumeclaims"): "likewise",
    ("delete", "daemonsets"): "asked where an artifact is no longer cached",
    ("delete", "configmaps"): "asked where a service is deleted",
    ("patch", "jobs"): "asked where a run is suspended",
    ("delete", "networkpolicies"): "asked where they are switched off",
    ("create", "deployments"): "checked by the server where an apply makes the object",
    ("create", "daemonsets"): "likewise",
    ("create", "services"): "likewise",
    ("create", "configmaps"): "likewise",
    ("create", "networkpolicies"): "likewise",
    ("get", "secrets"): "asked at every start but the first",
    ("create", "secrets"): "asked at the first start",
}
"""Verbs that a life without trouble does not need."""


def test_permissions_are_what_is_used(life: Life) -> None:
    requests = life.operator.requests()
    assert [request for request in requests if request.code == 403] == []
    granted = {
        (verb, kind)
        for grant in (*OPERATOR_TENANTS, *OPERATOR_NAMESPACE)
        for verb in grant.verbs
        for kind in grant.resources
    }
    used = {(request.verb, request.resource) for request in requests if request.resource}
    assert used <= granted
    assert granted - used <= REASONS.keys()
    assert REASONS.keys() <= granted
