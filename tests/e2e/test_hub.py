"""A model of a hub: fetched with a token, killed half-way and resumed, the same bytes; and what cannot be fetched."""

import base64
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.quickstart.kube import forwarded, kubectl
from examples.quickstart.target import Failed, target
from tests import hub_server
from tests.e2e import journey
from tests.e2e.cluster import Object, apply, items, kill, make_namespace, only_pod, read, wait, wait_for_condition

NAMESPACE = "e2e-hub"
ENDPOINT = f"http://hub.{NAMESPACE}:8080"
TOKEN = "hf_of_the_tests"
CHUNK = 16 << 20
SOON = 10.0
LLAMA = {
    "hidden_size": 512,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "intermediate_size": 1024,
    "max_position_embeddings": 256,
}
"""About 65 MB: several chunks."""


def hub(claim: str) -> list[Object]:
    """A hub in the cluster that has what is sealed on a claim, at a few megabytes a second."""
    program = Path(hub_server.__file__).read_text()
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "hub", "namespace": NAMESPACE},
            "data": {"hub_server.py": program},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "hub-token", "namespace": NAMESPACE},
            "data": {"token": base64.b64encode(TOKEN.encode()).decode()},
        },
        *server("hub", {"persistentVolumeClaim": {"claimName": claim}}, "artifact", "--bytes-per-second", "5e6"),
    ]


def server(name: str, volume: Object, sub_path: str, *arguments: str) -> list[Object]:
    """A pod that serves what lies at a place of a volume, and its Service."""
    meta = {"name": name, "namespace": NAMESPACE, "labels": {"app": name}}
    at = "/files" if "persistentVolumeClaim" in volume else f"/files/{sub_path}"
    container = {
        "name": "hub",
        "image": target().image("runtime"),
        "command": ["/opt/venv/bin/python3", "/program/hub_server.py", "/files", *arguments],
        "env": [{"name": "HUB_TOKEN", "value": TOKEN}],
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "program", "mountPath": "/program"},
            {"name": "files", "mountPath": at, "subPath": sub_path, "readOnly": True},
        ],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    pod = {
        "containers": [container],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [
            {"name": "program", "configMap": {"name": "hub"}},
            {"name": "files", **volume},
        ],
    }
    service = {"selector": {"app": name}, "ports": [{"port": 8080}]}
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": pod},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service},
    ]


def model(name: str, **source: object) -> Object:
    """A model of that hub."""
    where = {"repo": "tiny/model", "endpoint": ENDPOINT, "tokenSecretRef": {"name": "hub-token"}, **source}
    spec = {
        "source": {"huggingFace": where},
        "storage": journey.STORAGE,
        "evaluation": {"text": journey.data("heldout.txt"), "contextLength": 64, "maxTokens": 128},
        "jobs": journey.SMALL_POD,
    }
    return journey.resource("DeepSeekModel", NAMESPACE, name, spec)


@pytest.fixture(scope="module")
def origin() -> Iterator[Object]:
    """The model that the hub has, as the cluster made it."""
    make_namespace(NAMESPACE)
    made = journey.scratch(NAMESPACE, "origin", "Llama")
    made["spec"]["source"]["scratch"]["config"] = LLAMA
    apply(journey.text(NAMESPACE), made)
    wait_for_condition("deepseekmodels", NAMESPACE, "origin", "Ready", "True", timeout=180)
    found = read("deepseekmodels", NAMESPACE, "origin")
    apply(*hub(found["status"]["artifacts"][0]["claim"]))
    kubectl("wait", "pod/hub", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=60s")
    yield found
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_a_fetch_that_is_killed_goes_on(origin: Object) -> None:
    apply(model("copy"))
    with forwarded(NAMESPACE, "hub", 8080) as url:

        def sent() -> list[tuple[str, int, int]]:
            with urllib.request.urlopen(f"{url}/sent", timeout=30) as response:  # noqa: S310 loopback
                return [tuple(entry) for entry in json.load(response)]

        wait("a finished chunk", lambda: sum(end - begin for _, begin, end in sent()) > CHUNK + (4 << 20), timeout=90)
        wait("progress", lambda: "MiB of" in read("dsm", NAMESPACE, "copy")["status"]["progress"]["bytes"], timeout=30)
        progress = read("dsm", NAMESPACE, "copy")["status"]["progress"]
        kill(only_pod(NAMESPACE, "deepseek-operator.io/owner-name=copy"))
        wait_for_condition("deepseekmodels", NAMESPACE, "copy", "Ready", "True", timeout=180)
        ranges = sent()
    assert progress["work"] == "fetch base"
    assert progress["speed"].endswith("/s")
    status = read("deepseekmodels", NAMESPACE, "copy")["status"]
    assert status["digest"] == origin["status"]["digest"]
    assert status["revision"] == hub_server.COMMIT
    assert status["artifacts"][0]["scores"]["tokens"] > 0
    first = [entry for entry in ranges if entry[0] == "model.safetensors" and entry[1] == 0]
    assert len(first) == 1, "the finished chunk was fetched again"
    again = sum(end - begin for _, begin, end in ranges) - status["artifacts"][0]["bytes"]
    assert again <= CHUNK + (8 << 20)  # of the chunk that was cut, and what lay in the sockets' buffers
    log = kubectl("logs", "-n", NAMESPACE, "-l", "deepseek-operator.io/work=fetch", "--tail=-1")
    assert TOKEN not in log + json.dumps(items("pods", NAMESPACE, "deepseek-operator.io/owner-name=copy"))


@pytest.mark.parametrize(
    ("name", "source", "reason", "says"),
    [
        ("no-secret", {"tokenSecretRef": {"name": "nobodys"}}, "SecretMissing", "nobodys"),
        ("no-key", {"tokenSecretRef": {"name": "hub-token", "key": "other"}}, "SecretMissing", "other"),
        ("no-token", {"tokenSecretRef": None}, "AccessDenied", "give tokenSecretRef"),
        ("no-repo", {"repo": "tiny/other"}, "SourceNotFound", "tiny/other"),
        ("no-revision", {"revision": "v9"}, "SourceNotFound", "revision v9"),
        ("inside", {"endpoint": "http://127.0.0.1:8001"}, "AddressRefused", "fetch.allowedNetworks"),
        ("nobody", {"endpoint": f"http://hub.{NAMESPACE}:9"}, "SourceUnreachable", "tried again"),
    ],
)
def test_what_cannot_be_fetched_says_so(
    origin: Object, name: str, source: dict[str, object], reason: str, says: str
) -> None:
    wanted = model(name, **source)
    if source.get("tokenSecretRef", True) is None:
        del wanted["spec"]["source"]["huggingFace"]["tokenSecretRef"]
    apply(wanted)
    shown = wait_for_condition("deepseekmodels", NAMESPACE, name, "Ready", "False", 3 * SOON, reason)
    assert says in shown["message"]
    kubectl("delete", "dsm", name, "-n", NAMESPACE, "--wait=false")


def test_two_sources_are_one_too_many(origin: Object) -> None:
    wanted = model("two")
    wanted["spec"]["source"]["trainingRun"] = {"name": "pretrain"}
    with pytest.raises(Failed, match="exactly one of existingClaim, http, huggingFace"):
        apply(wanted)


def test_a_run_learns_from_a_dataset(origin: Object) -> None:
    """Fetched by one pod onto the run's volume, and read by the stage from there."""
    volume = {"configMap": {"name": "text"}}
    apply(*server("texts", volume, "train.txt", "--kind", "datasets", "--repo", "tiny/text"))
    kubectl("wait", "pod/texts", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=60s")
    run = journey.training(NAMESPACE, "reader", steps=4, every=2)
    where = {"repo": "tiny/text", "endpoint": f"http://texts.{NAMESPACE}:8080", "tokenSecretRef": {"name": "hub-token"}}
    run["spec"]["stages"][0]["data"] = [{"huggingFace": where}]
    apply(journey.scratch(NAMESPACE, "seed"), run)
    wait_for_condition("trainingruns", NAMESPACE, "reader", "Ready", "True", timeout=180)
    (dataset,) = read("trainingruns", NAMESPACE, "reader")["status"]["datasets"]
    assert (dataset["phase"], dataset["revision"]) == ("Ready", hub_server.COMMIT)
    text = read("configmaps", NAMESPACE, "text")["data"]["train.txt"]
    assert dataset["bytes"] == len(text.encode())
