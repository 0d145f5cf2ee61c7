"""A resource and its children in the smallest form, and a controller that knows nothing."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from deepseek_operator.api.names import API_VERSION, MANAGED_BY, MODEL, SERVICE, Label
from deepseek_operator.controllers.decision import Decision, Object, Observed, Ref, Remove, Settings
from deepseek_operator.engine.store import Store


class Plain:
    """Decides nothing; refers to the model that the spec names."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def references(self, resource: Object) -> frozenset[Ref]:
        name = resource["spec"].get("model")
        return frozenset({Ref(MODEL, resource["metadata"]["namespace"], name)} if name else set())

    def decide(self, resource: Object, observed: Observed, now: datetime, settings: Settings) -> Decision:
        return Decision()

    def orphaned(self, ref: Ref, observed: Observed) -> tuple[Remove, ...]:
        return ()


def resource(name: str = "seed", version: int = 1, kind: str = MODEL, **spec: Any) -> Object:
    meta = {"name": name, "namespace": "team", "uid": f"uid-{name}", "resourceVersion": str(version), "generation": 1}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": meta, "spec": spec}


def child(
    owner: Object, kind: str = "Job", name: str = "work", version: int = 1, namespace: str = "team", **more: Any
) -> Object:
    labels = {
        Label.MANAGED_BY: MANAGED_BY,
        Label.OWNER_KIND: owner["kind"],
        Label.OWNER_NAME: owner["metadata"]["name"],
        Label.OWNER_NAMESPACE: namespace,
        Label.OWNER_UID: owner["metadata"]["uid"],
    }
    meta = {
        "name": name,
        "namespace": namespace,
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
        "labels": labels,
    }
    return {"apiVersion": "v1", "kind": kind, "metadata": meta, **more}


@dataclass(frozen=True)
class Waking:
    """Writes down who is woken, at once or in a moment."""

    woken: list[Ref]
    soon: list[Ref] = field(default_factory=list)

    def add(self, key: Ref) -> None:
        self.woken.append(key)

    def add_soon(self, key: Ref) -> None:
        self.woken.append(key)
        self.soon.append(key)


@pytest.fixture
def woken() -> list[Ref]:
    """What the store has woken, in order."""
    return []


@pytest.fixture
def store(woken: list[Ref]) -> Store:
    """An empty store of an operator that lives in the namespace `system`."""
    return Store({MODEL: Plain(MODEL), SERVICE: Plain(SERVICE)}, "system", Waking(woken))
