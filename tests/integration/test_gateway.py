"""The gateway as the chart's ServiceAccount against the real API server: who sees which service, by what rights."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from deepseek_operator.api.permissions import GATEWAY_CLUSTER, GATEWAY_NAMESPACE, GATEWAY_TENANTS
from deepseek_runtime.wire.route import KEY, LABEL, Route

from tests.integration.api import Api
from tests.integration.audit import requests
from tests.integration.conftest import GATEWAY, RELEASE_NAMESPACE, Kubectl
from tests.integration.control_plane import ControlPlane, free_port
from tests.integration.operator_process import ROOT, wait

GATEWAY_AUDIENCE = "deepseek-gateway"
COMMAND = (sys.executable, "-m", "deepseek_runtime.gateway")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "runtime")}

Models = Callable[[str | None], tuple[int, list[str]]]


@pytest.fixture(scope="module")
def gateway(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its root URL."""
    directory = tmp_path_factory.mktemp("gateway")
    (directory / "token").write_text(control_plane.token(GATEWAY))
    (directory / "key").write_bytes(os.urandom(32))
    address = f"127.0.0.1:{free_port()}"
    environment = {
        **ENVIRONMENT,
        "POD_NAMESPACE": RELEASE_NAMESPACE,
        "POD_NAME": "gateway-0",
        "GATEWAY_LISTEN": address,
        "GATEWAY_METRICS_LISTEN": f"127.0.0.1:{free_port()}",
        "GATEWAY_MASTER_KEY_FILE": str(directory / "key"),
        "GATEWAY_AUDIT_DIRECTORY": str(directory / "audit"),
        "GATEWAY_KUBERNETES_URL": control_plane.url,
        "GATEWAY_KUBERNETES_TOKEN_FILE": str(directory / "token"),
        "GATEWAY_KUBERNETES_CA_FILE": str(control_plane.directory / "pki" / "apiserver.crt"),
    }
    log = directory / "gateway.log"
    with log.open("wb") as output:
        process = subprocess.Popen([*COMMAND, "serve"], env=environment, stdout=output, stderr=output)
    try:
        wait(f"the gateway ({log})", lambda: _get(f"http://{address}/health/ready", None)[0] == 200, 30)
        yield f"http://{address}"
    finally:
        process.kill()
        process.wait()


def _get(url: str, bearer: str | None) -> tuple[int, dict[str, object]]:
    request = urllib.request.Request(url)  # noqa: S310 loopback
    if bearer:
        request.add_header("Authorization", f"Bearer {bearer}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            text = answer.read()
            return answer.status, json.loads(text) if text.startswith(b"{") else {}
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, {}
    except OSError:
        return 0, {}


@pytest.fixture
def models(gateway: str, api: Api, namespace: str) -> Models:
    """The services `chat` and `other` of the namespace that a bearer sees."""
    for name in ("chat", "other"):
        uid = f"{namespace}-{name}"
        route = Route(
            namespace=namespace, service=name, uid=uid, workload=uid, url="http://127.0.0.1:1", served_name=name,
            ready=True, created=0, context_length=64, model="m", digest="0" * 64,
        )  # fmt: skip
        metadata = {"name": f"route-{uid}", "labels": {LABEL: "v1"}}
        path = f"/api/v1/namespaces/{RELEASE_NAMESPACE}/configmaps"
        api.request("POST", path, {"metadata": metadata, "data": {KEY: route.to_json()}}).ok()

    def ask(bearer: str | None) -> tuple[int, list[str]]:
        code, body = _get(f"{gateway}/v1/models", bearer)
        data = body.get("data", [])
        assert isinstance(data, list)
        return code, [entry["id"] for entry in data]

    return ask


def _key(api: Api, namespace: str, account: str, name: str = "key") -> str:
    """A key as `keys create` makes it, its ConfigMap applied."""
    options = ("--namespace", namespace, "--name", name, "--service-account", account, "--output", "json")
    command = [*COMMAND, "keys", "create", *options]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    made = json.loads(done.stdout)
    api.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", made["manifest"]).ok()
    key: str = made["key"]
    return key


def _grant(kubectl: Kubectl, namespace: str, account: str, service: str) -> None:
    rule = ("--verb=infer", f"--resource-name={service}", "--resource=inferenceservices.deepseek-operator.io")
    kubectl("create", "role", f"ask-{service}", "-n", namespace, *rule)
    binding = (f"--role=ask-{service}", f"--serviceaccount={namespace}:{account}")
    kubectl("create", "rolebinding", f"ask-{service}", "-n", namespace, *binding)


def test_a_key_sees_what_its_role_binding_names(models: Models, api: Api, namespace: str, kubectl: Kubectl) -> None:
    kubectl("create", "serviceaccount", "reader", "-n", namespace)
    kubectl("create", "serviceaccount", "stranger", "-n", namespace)
    _grant(kubectl, namespace, "reader", "chat")
    key = _key(api, namespace, "reader")
    wait("the route", lambda: models(key) == (200, [f"{namespace}/chat"]), 10)
    assert models(_key(api, namespace, "stranger", "strangers-key")) == (200, [])
    assert models(None)[0] == 401
    assert models(key[:-1] + ("A" if key[-1] != "A" else "B"))[0] == 401


def test_a_token_counts_only_for_the_gateways_audience(
    models: Models, control_plane: ControlPlane, namespace: str, kubectl: Kubectl
) -> None:
    kubectl("create", "serviceaccount", "reader", "-n", namespace)
    _grant(kubectl, namespace, "reader", "other")
    token = control_plane.token(f"{namespace}:reader", GATEWAY_AUDIENCE)
    wait("the route", lambda: models(token) == (200, [f"{namespace}/other"]), 10)
    assert models(control_plane.token(f"{namespace}:reader"))[0] == 401


def test_the_gateway_uses_every_right_it_has_and_no_other(
    models: Models, control_plane: ControlPlane, api: Api, namespace: str, kubectl: Kubectl
) -> None:
    kubectl("create", "serviceaccount", "reader", "-n", namespace)
    models(_key(api, namespace, "reader"))
    models(control_plane.token(f"{namespace}:reader", GATEWAY_AUDIENCE))
    seen = requests(control_plane.audit_log, GATEWAY)
    assert [request for request in seen if request.code == 403] == []
    granted = {
        (verb, kind)
        for grant in (*GATEWAY_TENANTS, *GATEWAY_CLUSTER, *GATEWAY_NAMESPACE)
        for verb in grant.verbs
        for kind in grant.resources
    }
    assert {(request.verb, request.resource) for request in seen} == granted
