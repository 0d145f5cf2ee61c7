"""Adversarial objects: the API server accepts or refuses them in words, and what it accepts the operator can stand."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import pytest
from deepseek_operator.api.crd import RESOURCES, Resource, schema
from deepseek_operator.api.names import MODEL, SERVICE, TRAINING
from deepseek_operator.controllers.decision import Ref
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.faults.resources import GOOD, full
from tests.integration.api import Api
from tests.integration.objects import MAKERS
from tests.unit.controllers.builders import NAMESPACE, scratch
from tests.unit.controllers.world import World

Object = dict[str, Any]
Place = tuple[str | int, ...]

NASTY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([-1, 0, 1, 2**31, 2**63 - 1, 2**63, -(2**63)]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=300),
    st.sampled_from(
        ["", ".", "..", "../..", "/", "a/../b", "\0", "\n", "-1", "1e9999", "9" * 400, "{{.}}", "$(x)", "𝕏" * 63]
    ),
    st.lists(st.integers(), max_size=40),
    st.dictionaries(st.text(max_size=8), st.integers(), max_size=40),
)


def places(node: Any, at: Place = ()) -> Iterator[Place]:
    """The way to every value of an object."""
    yield at
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in items:
        yield from places(child, (*at, key))


ALTERNATIVES = {"trainingRun", "configMap", "value", "tolerationSeconds"}
"""Fields that cannot be there beside others."""


def everything(node: Object) -> Any:
    """A valid value that has nearly every field of a schema."""
    if "enum" in node:
        return node["enum"][0]
    if "properties" in node:
        return {name: everything(child) for name, child in node["properties"].items() if name not in ALTERNATIVES}
    if "items" in node:
        return [everything(node["items"])]
    if "additionalProperties" in node:
        return {"a": everything(node["additionalProperties"])}
    if node.get("x-kubernetes-int-or-string"):
        return "1"
    simple = {"string": "x", "boolean": False, "integer": 64, "number": 0.5, "object": {}}
    return max(node.get("minimum", 0), simple[node["type"]]) if node["type"] == "integer" else simple[node["type"]]


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.kind)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_never_an_internal_error(resource: Resource, data: st.DataObject, api: Api) -> None:
    obj = MAKERS[resource.kind]("default")
    good = [full(kind, spec) for kind, _, spec in GOOD.values() if kind == resource.kind]
    obj["spec"] = copy.deepcopy(
        data.draw(st.sampled_from([everything(schema(resource)["properties"]["spec"]), *good, *good]))
    )
    for _ in range(data.draw(st.integers(0, 3))):
        ways = [place for place in places(obj) if place and place[0] in {"spec", "metadata"}]
        *way, last = data.draw(st.sampled_from(ways))
        node: Any = obj
        for step in way:
            node = node[step]
        if data.draw(st.booleans()) or isinstance(node, list):
            node[last] = data.draw(NASTY)
        else:
            del node[last]
        if not isinstance(obj.get("metadata"), dict) or not isinstance(obj["metadata"].get("name"), str):
            obj["metadata"] = copy.deepcopy(MAKERS[resource.kind]("default")["metadata"])
    obj["metadata"]["namespace"] = "default"
    obj.setdefault("spec", {})
    answer = api.create(obj, dry_run=True)
    event(f"{answer.code}")
    assert answer.code in {200, 201, 400, 422}, (answer.code, answer.message, obj)
    if answer.code < 300:
        spec = resource.spec.model_validate(answer.body["spec"])
        assert all(math.isfinite(value) for value in _numbers(spec.to_object()))
        _live(answer.body)
    else:
        assert answer.message


def _live(obj: Object) -> None:
    """The resource in a world that has what it names: no exception, valid children, never ready at once, an end."""
    spec, meta = obj["spec"], {"name": obj["metadata"]["name"], "namespace": NAMESPACE}
    world, ref = World(), Ref(obj["kind"], NAMESPACE, meta["name"])
    needed = {MODEL: "", TRAINING: spec.get("base", {}).get("model"), SERVICE: spec.get("model", {}).get("name")}
    if name := needed[ref.kind]:
        world.apply(scratch(name)).settle()
    world.apply({**obj, "metadata": meta})
    world.reconcile(ref)
    assert (world.condition(ref.kind, ref.name, "Ready") or ("",))[0] != "True"
    world.settle(200)
    status, reason, message = world.condition(ref.kind, ref.name, "Ready") or ("", "", "")
    assert status == "True" or (reason and message), world.status(ref.kind, ref.name)
    event(f"{ref.kind} {reason}")


def _numbers(node: Any) -> Iterator[float]:
    if isinstance(node, float):
        yield node
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        yield from _numbers(child)
