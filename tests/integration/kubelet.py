"""Pods that only seem to run, on volumes that only seem to be there; the real controllers make the pods."""

from typing import Any

from deepseek_runtime.wire.job import JOB
from deepseek_runtime.wire.paths import CACHE_ENVIRONMENT, JOB_ENVIRONMENT, SERVE_ENVIRONMENT
from deepseek_runtime.wire.result import encode

from tests.faults.simulators import result
from tests.integration.api import MERGE, Api

Object = dict[str, Any]
TIME = "2026-01-01T00:00:00Z"


class Kubelet:
    """The pods of one namespace. Pods of the Jobs in `held` (parts of their names) stay pending."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._claims = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
        self.held: set[str] = set()

    def tick(self) -> None:
        """Give every claim and every pod that waits its status."""
        for claim in self._api.get(self._claims).ok()["items"]:
            if claim["status"].get("phase") == "Pending":
                self._set(f"{self._claims}/{claim['metadata']['name']}", {"phase": "Bound"})
        for pod in self._api.get(self._pods).ok()["items"]:
            waits = pod["status"].get("phase") == "Pending" and "deletionTimestamp" not in pod["metadata"]
            if waits and not any(name in pod["metadata"]["name"] for name in self.held):
                serves = not {SERVE_ENVIRONMENT, CACHE_ENVIRONMENT}.isdisjoint(_environment(pod))
                self._set(f"{self._pods}/{pod['metadata']['name']}", self._served(pod) if serves else self._done(pod))
            elif "deletionTimestamp" in pod["metadata"]:
                self._api.request("DELETE", f"{self._pods}/{pod['metadata']['name']}?gracePeriodSeconds=0")

    def _done(self, pod: Object) -> Object:
        message = encode(result(JOB.validate_json(_environment(pod)[JOB_ENVIRONMENT])))
        ended = {"exitCode": 0, "reason": "Completed", "message": message, "startedAt": TIME, "finishedAt": TIME}
        return {"phase": "Succeeded", "containerStatuses": [_container(pod, {"terminated": ended}, ready=False)]}

    def _served(self, pod: Object) -> Object:
        ready = [{"type": kind, "status": "True", "lastTransitionTime": TIME} for kind in ("Ready", "ContainersReady")]
        state = _container(pod, {"running": {"startedAt": TIME}}, ready=True)
        return {"phase": "Running", "podIP": "127.0.0.1", "conditions": ready, "containerStatuses": [state]}

    def _set(self, path: str, status: Object) -> None:
        answer = self._api.request("PATCH", f"{path}/status", {"status": status}, MERGE)
        assert answer.code in {200, 404}, answer.message  # 404: it went in this very moment


def _environment(pod: Object) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in pod["spec"]["containers"][0].get("env", ())}


def _container(pod: Object, state: Object, *, ready: bool) -> Object:
    container = pod["spec"]["containers"][0]
    image = {"image": container["image"], "imageID": container["image"]}
    return {"name": container["name"], "ready": ready, "restartCount": 0, "state": state, **image}
