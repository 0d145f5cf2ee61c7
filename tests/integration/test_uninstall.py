"""After `helm uninstall` no model may be left that nobody can delete."""

import asyncio
import subprocess

import pytest
from deepseek_operator.api.names import FINALIZER_IN_USE
from deepseek_operator.engine.connection import from_kubeconfig
from deepseek_operator.uninstall import run

from tests.integration.api import Api, path
from tests.integration.conftest import CHART, RELEASE_NAMESPACE
from tests.integration.control_plane import ControlPlane
from tests.integration.objects import model

OTHERS = "example.com/mine"


async def test_models_are_let_go_with_the_hooks_own_rights(
    api: Api, namespace: str, control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = model(namespace)
    held["metadata"]["finalizers"] = [OTHERS, FINALIZER_IN_USE]
    api.create(held).ok()
    free = api.create(model(namespace)).ok()
    template = (str(control_plane.kube), "helm", "template", "deepseek", str(CHART), "--namespace", RELEASE_NAMESPACE)
    hooks = (*template, "--show-only", "templates/operator/uninstall.yaml")
    manifests = await asyncio.to_thread(subprocess.run, hooks, capture_output=True, text=True, check=True)
    control_plane.kubectl("apply", "-f", "-", text=manifests.stdout)
    token = control_plane.token(f"{RELEASE_NAMESPACE}:deepseek-operator-uninstall")
    monkeypatch.setenv("KUBECONFIG", str(control_plane.write_kubeconfig("uninstall", token)))
    connection = from_kubeconfig()
    assert connection is not None
    await run(connection, ())
    assert api.get(path(held)).ok()["metadata"]["finalizers"] == [OTHERS]
    assert "finalizers" not in api.get(path(free)).ok()["metadata"]
    api.merge(held, {"metadata": {"finalizers": None}}).ok()
