"""Two nodes: what moves between them, what cannot and says so, what is copied to both, full claims, and upgrades."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.quickstart.demo import OPERATOR_NAMESPACE, WORKLOADS, release
from examples.quickstart.kube import condition, kubectl, run
from examples.quickstart.target import KEYS, LOCAL, target
from local.places import STATE_VARIABLE, Cluster, default_state
from tests.e2e import journey
from tests.e2e.cluster import Object, apply, items, make_namespace, program_pod, read, wait, wait_for_condition

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not target().is_local, reason="nodes are added to a local cluster, which needs root"
)

FIRST, SECOND = "node0", "node1"
INT8 = {"name": "int8", "quantization": {"scheme": "int8"}}
SOON = 10.0
ANSWERS_THE_CALLERS_ADDRESS = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.client_address[0].encode())
http.server.HTTPServer(("", 8000), Handler).serve_forever()
"""
FILLS_ITS_VOLUME = """
import errno, time
written = 0
with open("/v/filling", "ab", buffering=0) as file:
    try:
        while True:
            written += file.write(bytes(4096))
    except OSError as error:
        print(errno.errorcode[error.errno], written, flush=True)
"""


@pytest.fixture(scope="module", autouse=True)
def two_nodes(own_state: Path) -> Iterator[None]:
    """A cluster of two nodes; the operator is on the first, which is never lost."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(own_state))
        try:
            run(*LOCAL, "build-images")
            run(*LOCAL, "up", "--nodes", "2")
            run(*LOCAL, "load-image", *KEYS)
            install()
            yield
        finally:
            run(*LOCAL, "down", "--purge")


def install(*options: str) -> None:
    """Install or change the operator, on the first node whichever of its pods is made anew."""
    kubectl("cordon", SECOND)
    try:
        release(*options)
        for workload in WORKLOADS.values():
            kubectl("rollout", "status", workload, "-n", OPERATOR_NAMESPACE, "--timeout=120s")
    finally:
        kubectl("uncordon", SECOND)


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> Iterator[str]:
    name = request.node.name.removeprefix("test_").replace("_", "-")[:40].strip("-")
    make_namespace(name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def services() -> str:
    """Two services on the second node: `pinned` on a volume of that node, `free` on one that both nodes see."""
    name = "services"
    make_namespace(name)
    kubectl("cordon", FIRST)
    pinned, free = journey.scratch(name, "pinned"), journey.scratch(name, "free")
    free["spec"]["storage"] = {**journey.STORAGE, "accessModes": ["ReadWriteMany"]}
    apply(
        journey.text(name),
        pinned,
        free,
        journey.service(name, "pinned", "pinned"),
        journey.service(name, "free", "free"),
    )
    for service in ("pinned", "free"):
        wait_for_condition("dsis", name, service, "Ready", "True", timeout=180)
    kubectl("uncordon", FIRST)
    assert nodes_of(name) == {"pinned": {SECOND}, "free": {SECOND}}
    return name


def nodes_of(namespace: str) -> dict[str, set[str]]:
    """Where the pods of each service are that are to stay."""
    found: dict[str, set[str]] = {}
    for pod in items("pods", namespace, "deepseek-operator.io/owner-kind=InferenceService"):
        if "deletionTimestamp" in pod["metadata"]:
            continue
        service = pod["metadata"]["labels"]["deepseek-operator.io/owner-name"]
        found.setdefault(service, set()).add(pod["spec"].get("nodeName", ""))
    return found


def pod(namespace: str, name: str, program: str, node: str | None = None, claim: str | None = None) -> Object:
    """A pod that runs a Python program, on a node or wherever its claim is, at /v."""
    made = program_pod(namespace, name, program, claim)
    made["spec"] |= {
        "nodeSelector": {"kubernetes.io/hostname": node} if node else {},
        # it may run where nothing else may
        "tolerations": [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}],
    }
    return made


def claim(namespace: str, name: str, size: str) -> Object:
    """A claim of the default class."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec}


def ends(namespace: str, name: str) -> str:
    """What a pod printed, once it has succeeded."""
    wait(f"the end of {name}", lambda: read("pods", namespace, name)["status"]["phase"] == "Succeeded", timeout=60)
    return kubectl("logs", name, "-n", namespace)


def test_pods_of_two_nodes_talk(namespace: str) -> None:
    both = {"first": FIRST, "second": SECOND}
    for name, node in both.items():
        ports = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8000}]}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"to-{name}", "namespace": namespace}}
        apply(pod(namespace, name, ANSWERS_THE_CALLERS_ADDRESS, node), {**service, "spec": ports})
    kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/first", "pod/second", "--timeout=60s")
    addresses = {name: read("pods", namespace, name)["status"]["podIP"] for name in both}

    def ask(caller: str, where: str) -> str:
        program = f"import urllib.request; print(urllib.request.urlopen('http://{where}', timeout=3).read().decode())"
        return kubectl("exec", "-n", namespace, caller, "--", "/opt/venv/bin/python3", "-c", program).strip()

    for caller in both:
        for called in both:
            # pods see each other's own addresses, on whichever node
            wait(
                f"{caller} → {called}",
                lambda caller=caller, called=called: ask(caller, f"{addresses[called]}:8000") == addresses[caller],
                SOON,
            )
            wait(
                f"{caller} → Service of {called}",
                lambda caller=caller, called=called: bool(ask(caller, f"to-{called}.{namespace}.svc")),
                SOON,
            )


def test_a_claim_is_of_one_node_and_of_one_size(namespace: str) -> None:
    apply(claim(namespace, "disk", "64Mi"))
    wait("waiting", lambda: "WaitForFirstConsumer" in kubectl("get", "events", "-n", namespace), SOON)
    assert read("pvc", namespace, "disk")["status"]["phase"] == "Pending"
    apply(pod(namespace, "filler", FILLS_ITS_VOLUME, SECOND, "disk"))
    code, written = ends(namespace, "filler").split()
    assert code == "ENOSPC"
    assert 0.9 * 64 * 2**20 < int(written) <= 64 * 2**20

    apply(pod(namespace, "elsewhere", "", FIRST, "disk"))
    refused = "PersistentVolume's node affinity"
    wait("a refusal", lambda: refused in json.dumps(read("pods", namespace, "elsewhere")["status"]), SOON)
    kubectl("patch", "pvc", "disk", "-n", namespace, "-p", '{"spec":{"resources":{"requests":{"storage":"96Mi"}}}}')
    wait("growth", lambda: read("pvc", namespace, "disk")["status"]["capacity"]["storage"] == "96Mi", SOON)
    apply(pod(namespace, "again", FILLS_ITS_VOLUME, claim="disk"))
    code, more = ends(namespace, "again").split()
    assert code == "ENOSPC"
    assert 0.9 * 32 * 2**20 < int(more) <= 32 * 2**20
    assert read("pods", namespace, "again")["spec"]["nodeName"] == SECOND


def test_an_image_that_is_not_there_and_then_one_that_is(namespace: str) -> None:
    """Here, for this installation is nobody else's."""
    try:
        install("--set", "runtime.image.tag=none-such")
        apply(journey.text(namespace), journey.scratch(namespace, "imageless"))
        wait("the failure", lambda: failure("dsm", namespace, "imageless")[0] == "ImagePullFailed", timeout=20)
        assert "none-such" in failure("dsm", namespace, "imageless")[1]
    finally:
        install()
    wait_for_condition("dsm", namespace, "imageless", "Ready", "True", timeout=120)


def test_a_full_disk_is_reported_and_a_larger_one_helps(namespace: str) -> None:
    kubectl("cordon", FIRST, SECOND)  # until the volume is full
    try:
        apply(journey.text(namespace), journey.scratch(namespace, "cramped"))
        wait("its claim", lambda: bool(items("pvc", namespace)), SOON)
        volume = items("pvc", namespace)[0]["metadata"]["name"]
        apply(pod(namespace, "filler", FILLS_ITS_VOLUME, claim=volume))
        assert ends(namespace, "filler").startswith("ENOSPC")
    finally:
        kubectl("uncordon", FIRST, SECOND)
    wait("the failure", lambda: failure("dsm", namespace, "cramped")[0] == "DiskFull", timeout=60)
    assert "storage.size" in failure("dsm", namespace, "cramped")[1]
    kubectl("patch", "dsm", "cramped", "-n", namespace, "--type=merge", "-p", '{"spec":{"storage":{"size":"512Mi"}}}')
    wait("growth", lambda: read("pvc", namespace, volume)["status"]["capacity"]["storage"] == "512Mi", SOON)
    wait_for_condition("dsm", namespace, "cramped", "Ready", "True", timeout=120)


def test_copies_are_kept_on_both_nodes_served_from_and_make_room(namespace: str) -> None:
    places = [node.home / "node/var/lib/node-cache" for node in Cluster(default_state()).nodes]
    for place in places:  # /var/lib/node-cache of each node
        place.mkdir()
        os.chown(place, 65532, 65532)
    kubectl("label", "nodes", FIRST, SECOND, "disk=cache")
    model = journey.scratch(namespace, "seed")
    model["spec"]["storage"] = {**journey.STORAGE, "accessModes": ["ReadWriteMany"]}
    cache = {"claimName": "node-cache", "capacity": "1Gi", "pods": {"nodeSelector": {"disk": "cache"}}}
    apply(*node_cache(namespace), journey.text(namespace), {**model, "spec": {**model["spec"], "cache": cache}})
    wait_for_condition("dsm", namespace, "seed", "Cached", "True", timeout=120)
    status = read("dsm", namespace, "seed")["status"]
    assert status["cache"]["copies"] == "2/2"
    assert all((place / status["digest"] / "artifact" / "config.json").is_file() for place in places)

    apply(journey.service(namespace, "chat", "seed"))
    wait_for_condition("dsis", namespace, "chat", "Ready", "True", timeout=120)
    log = kubectl("logs", "deployment/chat", "-n", namespace)
    assert f"weights=/cache/{status['digest']}/artifact" in log

    tight = {"variants": [INT8], "cache": {"capacity": status["cache"]["bytes"] + 65536}}
    kubectl("patch", "dsm", "seed", "-n", namespace, "--type=merge", "-p", json.dumps({"spec": tight}))
    full = wait_for_condition("dsm", namespace, "seed", "Cached", "False", 120, "CacheFull")
    assert f"DeepSeekModel/{namespace}/seed base" in full["message"]
    assert failure("dsm", namespace, "seed")[0] == "CacheFull"
    wait_for_condition("dsm", namespace, "seed", "Ready", "True", timeout=60)

    kubectl("delete", "dsis", "chat", "-n", namespace)  # its engine holds the copy that it reads
    only = {"cache": {"artifacts": ["int8"]}}
    kubectl("patch", "dsm", "seed", "-n", namespace, "--type=merge", "-p", json.dumps({"spec": only}))
    wait_for_condition("dsm", namespace, "seed", "Cached", "True", timeout=120)
    assert read("dsm", namespace, "seed")["status"]["cache"]["copies"] == "2/2"
    assert not any((place / status["digest"]).exists() for place in places)


def node_cache(namespace: str) -> list[Object]:
    """A claim whose volume is /var/lib/node-cache of whichever node a pod is on."""
    labelled = [{"key": "disk", "operator": "In", "values": ["cache"]}]
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    volume = {
        **spec,
        "capacity": {"storage": "1Gi"},
        "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": {"namespace": namespace, "name": "node-cache"},
        "local": {"path": "/var/lib/node-cache"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": labelled}]}},
    }
    claim = {**spec, "resources": {"requests": {"storage": "1Gi"}}, "volumeName": f"{namespace}-node-cache"}
    return [
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": claim["volumeName"]}, "spec": volume},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "node-cache", "namespace": namespace},
            "spec": claim,
        },
    ]


def failure(kind: str, namespace: str, name: str) -> tuple[str, str]:
    """Reason and message of the last failure of a resource."""
    found = read(kind, namespace, name)["status"].get("lastFailure", {})
    return found.get("reason", ""), found.get("message", "")


def test_a_drained_nodes_engine_comes_up_elsewhere_or_says_why_not(services: str) -> None:
    kubectl("drain", SECOND, "--delete-emptydir-data", "--ignore-daemonsets", "--timeout=60s")
    try:
        wait("the free engine to move", lambda: nodes_of(services)["free"] == {FIRST}, timeout=60)
        wait_for_condition("dsis", services, "free", "Ready", "True", timeout=120)
        wait("the reason", lambda: failure("dsis", services, "pinned")[0] == "NeedsSharedVolume", SOON)
        assert "ReadWriteMany" in failure("dsis", services, "pinned")[1]
        assert condition(read("dsis", services, "pinned"), "Ready")["status"] == "False"
    finally:
        kubectl("uncordon", SECOND)
    wait_for_condition("dsis", services, "pinned", "Ready", "True", timeout=120)


def test_a_lost_node_is_reported(services: str) -> None:
    run(*LOCAL, "node", "stop", SECOND)
    try:
        # half a minute passes until Kubernetes gives a node up, and the operator says so at once
        wait("the reason", lambda: failure("dsis", services, "pinned")[0] == "NodeLost", timeout=90)
        assert SECOND in failure("dsis", services, "pinned")[1]
        wait_for_condition("dsis", services, "pinned", "Ready", "False", SOON, "NodeLost")
    finally:
        run(*LOCAL, "node", "start", SECOND)
    wait_for_condition("dsis", services, "pinned", "Ready", "True", timeout=120)
