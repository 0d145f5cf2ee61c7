"""Routes: what the gateway knows of a service, in a ConfigMap that only the operator can write."""

from deepseek_runtime.wire.route import KEY, LABEL, Route

from deepseek_operator.desired.labels import Manifest, Owner


def route(owner: Owner, document: Route, namespace: str) -> Manifest:
    """The ConfigMap in the operator's namespace; no owner reference reaches across, so the operator removes it."""
    labels = {**owner.labels("route"), LABEL: "v1"}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": route_name(owner.uid), "namespace": namespace, "labels": labels},
        "data": {KEY: document.to_json()},
    }


def route_name(uid: str) -> str:
    """`route-<uid>`: a service that is made anew has another."""
    return f"route-{uid}"
