"""What pods are kept from, and what a pod learns that is put behind an engine's Service."""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from examples.quickstart.demo import OPERATOR_NAMESPACE
from examples.quickstart.kube import kubectl
from tests.e2e.cluster import Object, apply, create_key, items, wait

PYTHON = "/opt/venv/bin/python3"
SPY = """
import http.server, json
class Spy(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        proof = self.headers["Authorization"]
        print("CAUGHT", json.dumps({"path": self.path, "authorization": proof, "body": body}), flush=True)
        self.send_error(500)
    def log_message(self, *_):
        pass
http.server.HTTPServer(("", 8000), Spy).serve_forever()
"""
ASK = """
import concurrent.futures, json, sys, urllib.error, urllib.request
def answer(ask):
    headers = {"Authorization": ask["authorization"], "Content-Type": "application/json"}
    request = urllib.request.Request(ask["url"], ask["body"].encode() or None, headers)
    try:
        answer = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    return [answer.status, answer.read().decode()]
asked = json.load(sys.stdin)
with concurrent.futures.ThreadPoolExecutor(asked["at once"]) as pool:
    print(json.dumps(list(pool.map(answer, asked["asks"]))))
"""


def engine(namespace: str) -> Object:
    found = items("pods", namespace, "app.kubernetes.io/name=engine,app.kubernetes.io/managed-by=deepseek-operator")
    return next(pod for pod in found if "deletionTimestamp" not in pod["metadata"])


def staying_pods(namespace: str, selector: str) -> set[str]:
    """Names; not of pods that end, for those of a deleted service outlive its policy."""
    found = items("pods", namespace, selector)
    return {pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]}


@pytest.fixture
def spy(life: str) -> Iterator[str]:
    """A tenant's own pod behind the engine's Service."""
    pod = engine(life)
    (container,) = pod["spec"]["containers"]
    chosen = ("app.kubernetes.io/name", "deepseek-operator.io/owner-uid")
    labels = {name: pod["metadata"]["labels"][name] for name in chosen}
    kept = ("image", "imagePullPolicy", "securityContext")
    mine = {
        "name": "spy",
        **{name: container[name] for name in kept},
        "command": [PYTHON, "-c", SPY],
        "ports": [{"name": "http", "containerPort": 8000}],
    }
    spec = {"securityContext": pod["spec"]["securityContext"], "containers": [mine], "restartPolicy": "Never"}
    metadata: dict[str, Any] = {"name": "spy", "namespace": life, "labels": labels}
    apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    try:
        kubectl("wait", "pod/spy", "-n", life, "--for=condition=Ready", "--timeout=60s")
        yield "spy"
    finally:
        kubectl("delete", "pod", "spy", "-n", life, "--grace-period=0", "--force", "--wait=true")
        slices = "kubernetes.io/service-name=chat"
        wait("the spy's end", lambda: '"spy"' not in json.dumps(items("endpointslices", life, slices)), 30)


def answers(pod: str, namespace: str, asks: list[Object], at_once: int = 1) -> list[tuple[int, str]]:
    """What a pod is told: statuses and bodies, in the order of what it asks."""
    text = json.dumps({"at once": at_once, "asks": asks})
    said = kubectl("exec", "-i", pod, "-n", namespace, "--", PYTHON, "-c", ASK, text=text)
    return [(status, body) for status, body in json.loads(said)]


def test_what_a_spy_catches_is_good_for_nothing_but_to_be_handed_on_once(life: str, spy: str) -> None:
    call = {
        "url": f"http://deepseek-gateway.{OPERATOR_NAMESPACE}/v1/completions",
        "body": json.dumps({"model": "chat", "prompt": "The operator", "max_tokens": 4}),
        "authorization": f"Bearer {create_key(life, 'spied-key', 'reader')}",
    }
    tries = count(1)

    def caught() -> list[str]:
        # A Service spreads connections, not requests: each time more of them than the gateway has at hand.
        calls = 16 * next(tries)
        assert {status for status, _ in answers(spy, life, [call] * calls, at_once=calls)} <= {200, 500, 502}
        return [line.removeprefix("CAUGHT ") for line in kubectl("logs", spy, "-n", life).splitlines() if line]

    wait("the spy is asked", lambda: bool(caught()), 60)
    request = json.loads(caught()[-1])
    assert request["path"] == "/v1/completions"
    proof, body = request["authorization"], request["body"]
    address = engine(life)["status"]["podIP"]
    url = f"http://{address}:8000/v1/completions"
    again = {"url": url, "body": body, "authorization": proof}
    attempts = [
        again,
        again,
        {**again, "body": body.replace("operator", "secret")},
        {"url": f"http://{address}:8000/v1/models", "body": "", "authorization": proof},
        {"url": f"http://{address}:9400/progress", "body": "", "authorization": proof},
    ]
    said = answers(spy, life, attempts)
    assert [status for status, _ in said] == [200, 401, 401, 401, 401]
    assert "used before" in said[1][1]


def test_every_pod_is_selected_by_its_owners_network_policy(life: str) -> None:
    """The local cluster does not enforce policies; what they say is all that can be seen here."""
    pods = staying_pods(life, "app.kubernetes.io/managed-by=deepseek-operator")
    selected: set[str] = set()
    for policy in items("networkpolicies", life):
        spec = policy["spec"]
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        assert "egress" not in spec
        (rule,) = spec["ingress"]
        assert rule["from"] == [
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": OPERATOR_NAMESPACE}}}
        ]
        engine = policy["metadata"]["name"].startswith("inferenceservice-")
        assert [port["port"] for port in rule["ports"]] == ([8000, 9400] if engine else [9400])
        labels = ",".join(f"{key}={value}" for key, value in spec["podSelector"]["matchLabels"].items())
        selected |= staying_pods(life, labels)
    assert pods
    assert selected == pods
