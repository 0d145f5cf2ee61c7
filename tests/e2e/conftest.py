"""The cluster with the operator in it, and one life of a model that the tests look at from all sides."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.quickstart.demo import OPERATOR_NAMESPACE, Phases, install
from examples.quickstart.kube import kubectl
from examples.quickstart.progress import Screen
from local.locks import locked
from local.places import cache
from tests.e2e import journey
from tests.e2e.cluster import Caller, create_key, gateway_port_forward, make_namespace

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Minutes for each test, and as long as it takes for what all of them share: a bare machine builds everything."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(600, func_only=True))


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    """The local cluster, the images as they are in the tree, and the chart: once for all who start side by side."""
    with locked(cache() / "e2e-installation", "the installation by another process"):
        install(Phases(Screen()))


@pytest.fixture(scope="session")
def life() -> str:
    """A namespace in which a model was built, trained, published, quantized, measured and served."""
    namespace = "e2e-life"
    make_namespace(namespace)
    kubectl("apply", "-f", "-", text=json.dumps(journey.everything(namespace)))
    journey.wait_until_served(namespace)
    return namespace


@pytest.fixture(scope="session")
def gateway() -> Iterator[str]:
    """The gateway's root URL on loopback."""
    with gateway_port_forward(OPERATOR_NAMESPACE) as url:
        yield url


@pytest.fixture(scope="session")
def caller(life: str, gateway: str) -> Caller:
    """Somebody who may use the service."""
    return Caller(gateway, create_key(life, "reader-key", "reader"))
