"""Hand edits of children: every field that the operator applies comes back, and what it does not own stays."""

import asyncio
import copy
from collections.abc import Iterator
from typing import Any

import pytest
from deepseek_operator.controllers.decision import Object, Ref
from deepseek_operator.engine.planner import belongs_to

from tests.faults import virtual_time
from tests.faults.connection import Log
from tests.faults.oracles import assert_good_end
from tests.faults.scenario import MODEL_REF, RUN_REF, SERVICE_REF, TENANT, cached, life, quickstart, rest

_APPLIED = ("Deployment", "Service", "ConfigMap", "NetworkPolicy")
_BOOKKEEPING = {"resourceVersion", "generation", "uid", "creationTimestamp", "name", "namespace", "annotations"}
_REQUIRED = {"name", "mountPath", "containerPort", "port", "containers", "image", "claimName", "topologyKey"}
_REPAIR = 1.0
"""Seconds."""


def edits(obj: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every leaf can be changed or taken out, every list made longer or shorter, as far as the API server allows it."""
    if isinstance(obj, dict):
        for key, value in obj.items():
            if (path == ("metadata",) and key in _BOOKKEEPING) or (*path, key) == ("spec", "selector"):
                continue
            absent_is_the_same = key == "readOnly" and value is False
            leaf = not isinstance(value, dict) or (*path, key) == ("metadata", "labels")
            if leaf and key not in _REQUIRED and not absent_is_the_same:
                yield (*path, key), "remove"
            if key != "ownerReferences":  # a list that others may add to
                yield from edits(value, (*path, key))
    elif isinstance(obj, list):
        yield path, "repeat"
        for index, value in enumerate(obj):
            if len(obj) > 1:
                yield (*path, index), "remove"
            yield from edits(value, (*path, index))
    else:
        yield path, "change"


def edited(obj: Object, path: tuple[str | int, ...], how: str) -> Object:
    new = copy.deepcopy(obj)
    parent: Any = new
    for key in path[:-1]:
        parent = parent[key]
    last: Any = path[-1]
    match how, parent[last]:
        case "remove", _:
            del parent[last]
        case "repeat", [*items]:
            parent[last] = [*items, _other(items[-1]) if items else "extra"]
        case _, value:
            parent[last] = _other(value)
    return new


def _other(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return f"{value}-edited"
        case dict():
            return {key: _other(item) for key, item in value.items()}
        case _:
            return value


@pytest.mark.parametrize(
    ("objects", "owner", "kinds"),
    [
        (quickstart(), SERVICE_REF, _APPLIED),
        (cached(), MODEL_REF, ("DaemonSet",)),
        (cached(), SERVICE_REF, ("Deployment",)),
    ],
    ids=["quickstart", "copies", "engines with copies"],
)
def test_every_edit_of_every_applied_field_is_repaired_at_once(
    objects: list[Object], owner: Ref, kinds: tuple[str, ...]
) -> None:
    async def run() -> None:
        log = Log()
        world, process = await life(log, objects=objects)
        uid = world.objects[owner]["metadata"]["uid"]
        applied = [ref for ref, obj in world.objects.items() if ref.kind in kinds and belongs_to(obj, uid)]
        assert {ref.kind for ref in applied} == set(kinds)
        for ref in applied:
            good = world.objects[ref]
            own = {key: value for key, value in good.items() if key not in {"apiVersion", "kind", "status"}}
            for path, how in list(edits({key: value for key, value in own.items() if key != "status"})):
                world._store(ref, edited(world.objects[ref], path, how), "MODIFIED")
                await asyncio.sleep(_REPAIR)
                left = _content(world.objects[ref])
                assert left == _content(good), f"{how} {ref} at {path}"
        process = await rest(world, log, process)
        await assert_good_end(world, log, process)

    virtual_time.run(run())


def test_a_label_more_in_a_selector_is_taken_out() -> None:
    async def run() -> None:
        log = Log()
        world, process = await life(log)
        ref = Ref("Service", TENANT, SERVICE_REF.name)
        good = world.objects[ref]["spec"]["selector"]
        world.patch(ref, {"spec": {"selector": {"more": "narrow"}}})
        await asyncio.sleep(_REPAIR)
        assert world.objects[ref]["spec"]["selector"] == good
        await assert_good_end(world, log, process)

    virtual_time.run(run())


def test_a_policy_that_is_widened_or_narrowed_is_put_right() -> None:
    async def run() -> None:
        log = Log()
        world, process = await life(log)
        ref = next(ref for ref in world.objects if ref.kind == "NetworkPolicy")
        good = world.objects[ref]["spec"]
        nobody = [{"key": "none", "operator": "Exists"}]
        for edit in ({"egress": [{}]}, {"ingress": [{}]}, {"podSelector": {"matchExpressions": nobody}}):
            world.patch(ref, {"spec": edit})
            assert world.objects[ref]["spec"] != good
            await asyncio.sleep(_REPAIR)
            assert world.objects[ref]["spec"] == good, edit
        await assert_good_end(world, log, process)

    virtual_time.run(run())


def test_what_others_own_stays() -> None:
    async def run() -> None:
        log = Log()
        world, process = await life(log)
        ref = next(ref for ref in world.objects if ref.kind == "Deployment")
        world.patch(ref, {"metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}}})
        world.patch(ref, {"spec": {"minReadySeconds": 3, "template": {"spec": {"nodeSelector": {"disk": "ssd"}}}}})
        process = await rest(world, log, process)
        obj = world.objects[ref]
        assert (obj["metadata"]["labels"]["team"], obj["metadata"]["annotations"]["note"]) == ("a", "b")
        assert obj["spec"]["minReadySeconds"] == 3
        assert obj["spec"]["template"]["spec"]["nodeSelector"] == {"disk": "ssd"}
        await assert_good_end(world, log, process)

    virtual_time.run(run())


def test_a_child_that_is_deleted_by_hand_comes_back() -> None:
    async def run() -> None:
        log = Log()
        world, process = await life(log)
        done = f"run-{RUN_REF.name}"  # a run that is complete has no pods left to give names to
        gone = [ref for ref in world.objects if ref.kind in _APPLIED and ref.name != done]
        for ref in gone:
            world.delete(ref)
        await asyncio.sleep(_REPAIR)
        assert [ref for ref in gone if ref not in world.objects] == []
        process = await rest(world, log, process)
        await assert_good_end(world, log, process)

    virtual_time.run(run())


def _content(obj: Object) -> Object:
    meta = {key: value for key, value in obj["metadata"].items() if key not in _BOOKKEEPING}
    return {**{key: value for key, value in obj.items() if key not in {"metadata", "status"}}, "metadata": meta}
