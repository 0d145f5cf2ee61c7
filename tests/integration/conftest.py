"""The control plane with the chart installed in it. No pods run: there is no kubelet."""

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from deepseek_operator.api.names import PLURALS

from local.build import built
from tests.integration.api import Api
from tests.integration.control_plane import ControlPlane

CHART = Path(__file__).parents[2] / "charts" / "deepseek-operator"
RELEASE_NAMESPACE = "deepseek-system"
OPERATOR = f"{RELEASE_NAMESPACE}:deepseek-operator"
GATEWAY = f"{RELEASE_NAMESPACE}:deepseek-gateway"

Kubectl = Callable[..., str]


@pytest.fixture(scope="session")
def kube() -> Path:
    """The local cluster's binary; `make test-integration` builds it. DEEPSEEK_KUBE names another."""
    return Path(os.environ.get("DEEPSEEK_KUBE") or built() / "kube")


@contextmanager
def installed(kube: Path, directory: Path) -> Iterator[ControlPlane]:
    """A control plane with the chart installed."""
    plane = ControlPlane(kube, directory)
    try:
        plane.start()
        plane.helm("install", "deepseek", str(CHART), "--namespace", RELEASE_NAMESPACE, "--create-namespace")
        _await_settled(plane.api)
        yield plane
    finally:
        plane.stop()


@pytest.fixture(scope="session")
def control_plane(kube: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """For all tests in which no operator runs."""
    with installed(kube, tmp_path_factory.mktemp("control-plane")) as plane:
        yield plane


def _await_settled(api: Api) -> None:
    """Until discovery tells of the CRDs and the cluster's own roles have taken in the chart's."""
    groups = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    settled = (("/apis", groups), *((f"{roles}/{name}", "*/*") for name in ("view", "edit", "admin")))
    deadline = time.monotonic() + 30
    for path, accept in settled:
        while any(plural not in str(api.get(path, accept).ok()) for plural in PLURALS.values()):
            assert time.monotonic() < deadline, f"{path} does not know {PLURALS}"
            time.sleep(0.05)


@pytest.fixture
def api(control_plane: ControlPlane) -> Api:
    """The API server as its administrator."""
    return control_plane.api


@pytest.fixture
def kubectl(control_plane: ControlPlane) -> Kubectl:
    """Standard output of `kubectl`."""
    return control_plane.kubectl


@pytest.fixture
def namespace(api: Api) -> str:
    """A namespace of the test's own."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.request("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}}).ok()
    return name
