"""Services: the address of an engine inside the cluster."""

from deepseek_runtime.wire.paths import ENGINE_PORT

from deepseek_operator.desired.deployment import CONTAINER, selector
from deepseek_operator.desired.labels import Manifest, Owner


def service(owner: Owner) -> Manifest:
    """A ClusterIP in front of the ready pods."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owner.metadata(owner.name, owner.labels(CONTAINER)),
        "spec": {
            "type": "ClusterIP",
            "selector": selector(owner),
            "ports": [{"name": "http", "port": ENGINE_PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def service_url(owner: Owner, cluster_domain: str) -> str:
    """Where the gateway finds the engine."""
    return f"http://{owner.name}.{owner.namespace}.svc.{cluster_domain}:{ENGINE_PORT}"
