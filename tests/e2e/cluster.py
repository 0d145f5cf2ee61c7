"""What the tests do to a cluster: namespaces, keys, requests, killed processes, and waiting."""

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from examples.quickstart.demo import OPERATOR_NAMESPACE
from examples.quickstart.kube import condition, forwarded, kubectl, run
from examples.quickstart.target import Failed, target

Object = dict[str, Any]


def make_namespace(name: str) -> None:
    """An empty namespace with the restricted Pod Security profile; what an earlier run left is removed first."""
    kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=true", "--timeout=120s")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})


def apply(*objects: Object) -> None:
    """`kubectl apply` of objects."""
    kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


def read(kind: str, namespace: str, name: str) -> Object:
    """One object; Failed where there is none."""
    found: Object = json.loads(kubectl("get", kind, name, "-n", namespace, "-o", "json"))
    return found


def items(kind: str, namespace: str, selector: str = "") -> list[Object]:
    """All objects of a kind that a selector matches."""
    found: list[Object] = json.loads(kubectl("get", kind, "-n", namespace, "-l", selector, "-o", "json"))["items"]
    return found


def only_pod(namespace: str, selector: str) -> Object:
    """The one pod that a selector matches, once those that a rollout replaced are gone."""
    wait(f"one pod of {selector}", lambda: len(items("pods", namespace, selector)) == 1, timeout=90)
    (pod,) = items("pods", namespace, selector)
    return pod


def wait(what: str, reached: Callable[[], bool], timeout: float) -> float:
    """Seconds until something was reached; fails with the last state in words when it is not in time."""
    start = time.monotonic()
    while True:
        try:
            if reached():
                return time.monotonic() - start
        except (Failed, KeyError, IndexError):
            pass
        if time.monotonic() - start > timeout:
            raise AssertionError(f"{what}: not within {timeout:.0f} s")
        time.sleep(0.25)


def wait_for_condition(
    kind: str, namespace: str, name: str, type_: str, status: str, timeout: float, reason: str | None = None
) -> Object:
    """The condition, once it has the status (and reason) at the resource's present generation."""

    def reached() -> bool:
        resource = read(kind, namespace, name)
        found = condition(resource, type_)
        current = resource["status"]["observedGeneration"] == resource["metadata"]["generation"]
        return current and found.get("status") == status and reason in (None, found.get("reason"))

    try:
        wait(f"{kind}/{name} {type_}={status} {reason or ''}", reached, timeout)
    except AssertionError as error:
        raise AssertionError(f"{error}; its status: {json.dumps(read(kind, namespace, name).get('status'))}") from None
    return condition(read(kind, namespace, name), type_)


def program_pod(namespace: str, name: str, program: str, claim: str | None = None) -> Object:
    """A user's pod that runs a Python program once, with a claim, or a volume of its own, at /v."""
    volume = {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}
    container = {
        "name": "python",
        "image": target().image("runtime"),
        "imagePullPolicy": "IfNotPresent",
        "command": ["/opt/venv/bin/python3", "-c", program],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    }
    user = {"runAsNonRoot": True, "runAsUser": 65532, "fsGroup": 65532}
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "securityContext": {**user, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "v", **volume}],
    }
    meta = {"name": name, "namespace": namespace, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def processes_of(pod: Object) -> list[int]:
    """Process ids, on this machine, of a pod's containers (not of its sandbox); skips where its node is elsewhere."""
    if not target().is_local:
        pytest.skip(f"the processes of pods of a cluster of kind {target().kind} are not this machine's to end")
    uid = pod["metadata"]["uid"]
    found = []
    for entry in Path("/proc").iterdir():
        try:
            ours = entry.name.isdigit() and uid in (entry / "cgroup").read_text()
            if ours and "pause" not in (entry / "comm").read_text():
                found.append(int(entry.name))
        except OSError:  # it ended while we looked
            continue
    return sorted(found)


def kill(pod: Object) -> None:
    """kill -9 of every process of a pod's containers, oldest first."""
    for pid in processes_of(pod):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def create_key(namespace: str, name: str, account: str, expires: str = "1d") -> str:
    """A new API key of a ServiceAccount, its ConfigMap applied."""
    made = json.loads(
        run(
            *target().kubectl, "exec", "-n", OPERATOR_NAMESPACE, "statefulset/deepseek-gateway", "--",
            "/opt/venv/bin/python3", "-m", "deepseek_runtime.gateway", "keys", "create", "--namespace", namespace,
            "--name", name, "--service-account", account, "--expires", expires, "--output", "json",
        )
    )  # fmt: skip
    apply(made["manifest"])
    return str(made["key"])


@contextmanager
def gateway_port_forward(namespace: str) -> Iterator[str]:
    """The gateway on a loopback port."""
    with forwarded(namespace, "deepseek-gateway", 80) as url:
        yield url


@dataclass(frozen=True)
class Caller:
    """Somebody with a key (or without: None) at the gateway."""

    url: str
    key: str | None

    def post(self, body: bytes | Object, path: str = "/v1/completions") -> tuple[int, Object]:
        """Status and JSON body of an answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(f"{self.url}{path}", data=data, headers=headers)  # noqa: S310 loopback
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
