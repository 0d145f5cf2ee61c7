"""The control plane with the CRDs in it, once for all tests."""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from deepseek_operator.api.crd import RESOURCES, crd

from local.build import built
from tests.integration.api import APPLY, Api
from tests.integration.control_plane import ControlPlane

Kubectl = Callable[..., str]


@pytest.fixture(scope="session")
def kube() -> Path:
    """The local cluster's binary; `make test-integration` builds it. DEEPSEEK_KUBE names another."""
    return Path(os.environ.get("DEEPSEEK_KUBE") or built() / "kube")


@pytest.fixture(scope="session")
def control_plane(kube: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Running processes, and the CRDs served."""
    plane = ControlPlane(kube, tmp_path_factory.mktemp("control-plane"))
    try:
        plane.start()
        for resource in RESOURCES:
            manifest = crd(resource)
            name = manifest["metadata"]["name"]
            path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
            plane.api.request("PATCH", f"{path}?fieldManager=test", manifest, APPLY).ok()
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        yield plane
    finally:
        plane.stop()


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
    api.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}}).ok()
    return name
