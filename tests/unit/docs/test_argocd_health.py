"""The health check for Argo CD, run as Argo CD runs it: `obj` is a global, the result a table."""

from pathlib import Path
from typing import Any

import pytest
from lupa import LuaRuntime  # type: ignore[import-untyped]

SCRIPT = Path(__file__).parents[3] / "docs" / "gitops" / "health.lua"
Object = dict[str, Any]


def health(obj: Object) -> tuple[str, str]:
    lua = LuaRuntime(register_eval=False, register_builtins=False)
    lua.globals().obj = lua.table_from(obj, recursive=True)
    result = lua.execute(SCRIPT.read_text())
    return result["status"], result["message"]


def resource(*conditions: tuple[str, str], observed: int = 2, spec: Object | None = None, **metadata: Any) -> Object:
    said = [{"type": type_, "status": status, "message": f"why {type_}"} for type_, status in conditions]
    return {
        "metadata": {"name": "x", "generation": 2, **metadata},
        "spec": spec or {},
        "status": {"observedGeneration": observed, "conditions": said},
    }


READY, WAITING = ("Ready", "True"), ("Ready", "False")


@pytest.mark.parametrize(
    ("obj", "wanted"),
    [
        ({"metadata": {"name": "x", "generation": 1}}, "Progressing"),
        (resource(READY, observed=-1), "Progressing"),
        (resource(READY, observed=1), "Progressing"),
        (resource(), "Progressing"),
        (resource(READY), "Healthy"),
        (resource(WAITING), "Progressing"),
        (resource(WAITING, ("Reconciling", "True")), "Progressing"),
        (resource(READY, ("Reconciling", "True")), "Progressing"),
        (resource(WAITING, ("Stalled", "True")), "Degraded"),
        (resource(READY, ("Stalled", "True")), "Degraded"),
        (resource(WAITING, spec={"suspend": True}), "Suspended"),
        (resource(READY, spec={"suspend": True}), "Healthy"),
        (resource(WAITING, ("Stalled", "True"), spec={"suspend": True}), "Degraded"),
        (resource(READY, deletionTimestamp="2026-01-01T00:00:00Z"), "Progressing"),
    ],
    ids=str,
)
def test_health_is_what_kstatus_would_say(obj: Object, wanted: str) -> None:
    assert health(obj)[0] == wanted


def test_the_message_says_why() -> None:
    assert health(resource(WAITING, ("Stalled", "True")))[1] == "why Stalled"
    blocked = resource(READY, ("DeletionBlocked", "True"), deletionTimestamp="2026-01-01T00:00:00Z")
    assert health(blocked)[1] == "why DeletionBlocked"
