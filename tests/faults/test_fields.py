"""Every field of the three resources changed, emptied, and put back: it arrives or is refused, and leaves no trace."""

import copy
import functools
import json
import re
from typing import Any

import pytest
from deepseek_operator.api.names import API_VERSION, MODEL, TRAINING, Label
from deepseek_operator.controllers.decision import Object, Ref

from tests.faults import resources
from tests.faults.fields import Mutation, declared, mutations
from tests.faults.resources import GOOD, SPECS, full, model, refusal
from tests.unit.controllers.builders import NAMESPACE
from tests.unit.controllers.world import World

LATER = {
    r"(jobs|compute)(\..*)?": "pods that have done their work are not started again for the settings of the next",
    r"checkpoint(\.(everySteps|keep))?": "a stage that is complete writes no checkpoint",
    r"(checkpoint\.)?storage(\..*)?": "volumes that are there keep class and access; they grow, and never shrink",
    r"source\.(huggingFace\.token|objectStore\.credentials|oci\.pull)SecretRef.*": "what is fetched needs no key",
    r"source\.(objectStore\.region|oci\.plainHttp)": "how it was asked for cannot be seen in what was fetched",
    r"verification\.allow": "what was taken is taken",
    r"publish(\.storage.*)?": "a model is published once, and is its user's from then on",
    r"variants\.\d+\.quantization\.parallelism": "how many pods made a variant cannot be seen in it",
    r"suspend": "a run that is complete has nothing to suspend",
}
"""Fields that what is sealed or done already does not show: what is made next does. Each with its reason."""
UNSEEN = {
    r"variants\.\d+\.gate\.action .*": "what follows when a gate is missed; those here are passed. "
    "test_gate: a gate that warns serves",
    r"variants\.\d+\.gate\.(maxKlDivergence|minTop1Agreement|maxTaskScoreDecrease) .*": "one limit more or less of a "
    "gate that is passed. test_gate: every limit holds by itself",
    r"source\.http\.files\.\d+\.path emptied": "the file is called as its URL is. test_http: names of their URLs",
    r"variants\.\d+\.quantization\.method (emptied|changed to '(weightOnly|roundToNearest)')": "it is what an absent "
    "one is. test_quantization: arrives in the Job, and written out makes nothing again",
    r"variants\.\d+\.quantization\.scope changed to 'all'": "the same, of int8. test_quantization",
}
"""Changes that nothing shows here: why, and the test among those of the controllers that proves the field."""
OWN: dict[str, str | tuple[str, ...]] = {
    **{case: "source" for case in GOOD if case.startswith("model-o")},
    "model-signed": "verification",
    "model-to-depth": ("verification", "signing", "variants", "evaluation"),
    "model-dense": "variants",
    "run-on-a-dataset": "stages",
}
"""The fields that a case is for; the others are asked of another."""
BASES: dict[str, tuple[tuple[str, str, Object], ...]] = {
    "model-of-a-run": (
        (MODEL, "seed", {"source": {"scratch": resources.SCRATCH}, "storage": resources.STORAGE}),
        (TRAINING, "pretrain", {**resources.RUN, "publish": None}),
    ),
    "run": ((MODEL, "seed", {"source": {"scratch": resources.SCRATCH}, "storage": resources.STORAGE}),),
    "run-on-a-dataset": ((MODEL, "seed", {"source": {"scratch": resources.SCRATCH}, "storage": resources.STORAGE}),),
    "service": (
        (MODEL, "seed", model({"scratch": resources.SCRATCH})),
        (MODEL, "other", {"source": {"scratch": resources.SCRATCH}}),
    ),
}
"""What the resource needs beside it."""


def built(kind: str, name: str, spec: Object) -> Object:
    meta = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": meta, "spec": full(kind, spec)}


def born(case: str, spec: Object) -> World:
    """A world in which the resource was like this from its beginning."""
    kind, name, _ = GOOD[case]
    world = World().apply(*(built(*base) for base in BASES.get(case, ())))
    world.settle()
    return world.apply(built(kind, name, spec)).settle(120)


@functools.cache
def settled(case: str) -> World:
    return born(case, GOOD[case][2])


def managed(world: World, owner: Ref) -> dict[str, Any]:
    """What the operator has made for a resource, without what differs between two runs."""
    kept = {}
    for ref, obj in world.objects.items():
        labels = obj["metadata"].get("labels", {})
        if ref.kind == "Pod" or (labels.get(Label.OWNER_KIND), labels.get(Label.OWNER_NAME)) != (
            owner.kind,
            owner.name,
        ):
            continue
        meta = {key: value for key, value in obj["metadata"].items() if key in {"name", "labels", "annotations"}}
        kept[str(ref)] = {**{key: value for key, value in obj.items() if key in {"spec", "data"}}, "metadata": meta}
    return json.loads(json.dumps(kept, sort_keys=True))  # type: ignore[no-any-return]


def others(world: World, ref: Ref) -> list[Any]:
    """The specs of all other resources, a published one among them."""
    return [obj["spec"] for other, obj in world.objects.items() if other.kind in SPECS and other != ref]


def told(world: World, ref: Ref) -> Any:
    """The status without times and generations, and without what Jobs have cost: that stays spent."""

    def plain(node: Any) -> Any:
        if isinstance(node, dict):
            dropped = {"lastTransitionTime", "observedGeneration", "time", "cost"}
            return {key: plain(value) for key, value in node.items() if key not in dropped}
        return [plain(item) for item in node] if isinstance(node, list) else node

    return plain(world.objects[ref]["status"])


def grown(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """With the sizes and Jobs of before: a volume that has grown stays so, a comparison or proof that is done stays."""
    done = ("-compare-", "-verify-")
    kept = {name: obj for name, obj in after.items() if name in before or not any(work in name for work in done)}
    after = copy.deepcopy(kept)
    for name, obj in after.items():
        if name.startswith("PersistentVolumeClaim/") and name in before:
            obj["spec"]["resources"] = before[name]["spec"]["resources"]
    return after


def cases() -> list[Any]:
    found = []
    for case, (kind, _, spec) in GOOD.items():
        fields: dict[str, list[Mutation]] = {}
        for mutation in mutations(SPECS[kind], full(kind, spec)):
            fields.setdefault(".".join(step for step in mutation.path if isinstance(step, str)), []).append(mutation)
        fields = {name: some for name, some in fields.items() if name.startswith(OWN.get(case, ""))}
        found += [pytest.param(case, some, id=f"{case}-{name}") for name, some in fields.items()]
    return found


def test_every_field_is_in_a_good_resource() -> None:
    asked: dict[str, set[str]] = {kind: set() for kind in SPECS}
    for kind, _, spec in GOOD.values():
        for mutation in mutations(SPECS[kind], full(kind, spec)):
            asked[kind].add(".".join(step for step in mutation.path if isinstance(step, str)))
    missing = {kind: sorted(set(declared(SPECS[kind])) - asked[kind]) for kind in SPECS}
    assert not any(missing.values()), missing


@pytest.mark.parametrize(("case", "some"), cases())
def test_a_change_arrives_or_is_refused_and_putting_it_back_leaves_no_trace(case: str, some: list[Mutation]) -> None:
    kind, name, good = GOOD[case]
    spec, ref = full(kind, good), Ref(kind, NAMESPACE, name)
    before, status = managed(settled(case), ref), told(settled(case), ref)
    for mutation in some:
        new = mutation.of(spec)
        if refusal(kind, spec, new) is not None or full(kind, new) == spec:
            continue
        world = copy.deepcopy(settled(case))
        world.apply(built(kind, name, new)).settle(120)
        stalled = world.condition(kind, name, "Stalled") is not None
        if managed(world, ref) == before and told(world, ref) == status and not stalled:
            path = ".".join(map(str, mutation.path))
            if any(re.fullmatch(pattern, str(mutation)) for pattern in UNSEEN):
                continue
            assert any(re.fullmatch(pattern, path) for pattern in LATER), f"{mutation}: nothing happens"
            fresh = born(case, new)
            made = (managed(fresh, ref), others(fresh, ref))
            assert made != (before, others(settled(case), ref)), f"{mutation}: nothing ever happens"
        world.apply(built(kind, name, spec)).settle(120)
        assert grown(before, managed(world, ref)) == before, f"{mutation}, and put back"
        assert told(world, ref) == status, f"{mutation}, and put back"
