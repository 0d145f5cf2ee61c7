"""A variant that misses its gate is never begun to be served, in whatever order things happen, and says by how much."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from deepseek_operator.api.names import MODEL, SERVICE, Annotation
from deepseek_operator.controllers.decision import Ref
from deepseek_runtime.wire.result import TaskMetric, TaskScores
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.controllers.builders import NAMESPACE, Builder, scratch, service
from tests.unit.controllers.test_properties import PATIENT
from tests.unit.controllers.world import World

SEED, CHAT = Ref(MODEL, NAMESPACE, "seed"), Ref(SERVICE, NAMESPACE, "chat")


def gated(limit: float | dict[str, Any] | None, **config: Any) -> Builder:
    return scratch(**config).variant("int8", gate=limit).evaluated()


def measuring(base: float, int8: float) -> World:
    world = World()
    world.perplexities = {"base": base, "int8": int8}
    return world


def served(world: World) -> str | None:
    """The digest that the pods' template is of."""
    for deployment in world.of_kind("Deployment"):
        return str(json.loads(deployment["metadata"]["annotations"][Annotation.SERVING])["digest"])
    return None


def int8(world: World) -> dict[str, Any]:
    return next(each for each in world.status(MODEL, "seed")["artifacts"] if each["name"] == "int8")


def coming(world: World) -> dict[str, Any]:
    return next(each for each in world.status(MODEL, "seed")["next"]["artifacts"] if each["name"] == "int8")


@pytest.mark.parametrize(
    ("base", "made", "limit", "phase", "increase"),
    [
        (20.0, 20.3, 0.02, "Passed", 0.015),
        (20.0, 20.4, 0.02, "Passed", 0.02),
        (20.0, 20.5, 0.02, "Blocked", 0.025),
        (20.0, 19.0, 0.0, "Passed", -0.05),
        (20.0, 20.0, 0.0, "Passed", 0.0),
        (20.0, 20.0012, 0.0, "Blocked", 0.0001),
        (20.0, 20.00001, 0.0, "Passed", 0.0),  # equal to the decimals that are shown
        (1.0, 1e300, 1000, "Blocked", 1e300),
    ],
)
def test_the_increase_is_a_share_of_the_base(
    base: float, made: float, limit: float, phase: str, increase: float
) -> None:
    world = measuring(base, made).apply(gated(limit), service(variant="int8")).settle()
    gate = {key: value for key, value in int8(world)["gate"].items() if key != "missed"}
    assert gate == {"phase": phase, "perplexityIncrease": increase, "limit": limit}
    assert ("missed" in int8(world)["gate"]) == (phase == "Blocked")
    assert (served(world) is not None) == (phase == "Passed")
    assert world.condition(MODEL, "seed", "GatesPassed")[0] == str(phase == "Passed")  # type: ignore[index]


def test_a_blocked_variant_says_by_how_much_it_missed_and_what_to_do() -> None:
    world = measuring(20.0, 21.0).apply(gated(0.02), service(variant="int8"), service("plain")).settle()
    for type_, status in (("Ready", "False"), ("Stalled", "True"), ("GatesPassed", "False")):
        found = world.condition(MODEL, "seed", type_)
        assert found is not None
        assert found[:2] == (status, "GateBlocked")
        assert "variant int8 is blocked: its perplexity is 5.00% above that of the base, 3.00% more than" in found[2]
        assert "quantization.ignore" in found[2]
    assert world.condition(MODEL, "seed", "Reconciling") is None
    assert world.condition(MODEL, "seed", "VariantsReady")[0] == "True", "it is sealed all the same"  # type: ignore[index]
    assert world.status(MODEL, "seed")["phase"] == "Blocked"
    ready = world.condition(SERVICE, "chat", "Ready")
    assert ready is not None
    assert ready[:2] == ("False", "GateBlocked")
    assert "5.00%" in ready[2]
    assert world.condition(SERVICE, "chat", "Stalled") is not None
    assert world.condition(SERVICE, "plain", "Ready")[0] == "True", "the base is not held by a variant's gate"  # type: ignore[index]


def test_a_service_waits_for_the_measurement() -> None:
    world = measuring(20.0, 20.1)
    world.held = {"evaluate"}
    world.apply(gated(0.02), service(variant="int8")).settle()
    assert int8(world)["phase"] == "Ready"
    assert int8(world)["gate"] == {"phase": "Pending", "limit": 0.02}
    ready = world.condition(SERVICE, "chat", "Ready")
    assert ready is not None
    assert ready[:2] == ("False", "WaitingForModel")
    assert "int8 of DeepSeekModel seed has a gate and is not measured yet: it is evaluating" in ready[2]
    world.held = set()
    world.settle()
    assert world.condition(SERVICE, "chat", "Ready")[0] == "True"  # type: ignore[index]


def test_a_gate_without_an_evaluation_is_refused_by_decision_too() -> None:
    world = World().apply(scratch().variant("int8", gate=0.02), service(variant="int8")).settle()
    for kind, name in ((MODEL, "seed"), (SERVICE, "chat")):
        status, _, message = world.condition(kind, name, "Ready") or ("", "", "")
        assert status == "False"
        assert "the model has no evaluation. Add evaluation, or drop the gate" in message
    assert world.of_kind("Deployment") == []


def test_a_stricter_gate_leaves_alone_what_is_served_and_computes_nothing() -> None:
    world = measuring(20.0, 20.5).apply(gated(0.05), service(variant="int8")).settle()
    before, computed = served(world), list(world.computed)
    world.apply(gated(0.01)).settle()
    assert (served(world), world.computed, world.removed) == (before, computed, [])
    ready, stalled = (world.condition(SERVICE, "chat", type_) for type_ in ("Ready", "Stalled"))
    assert ready is not None
    assert ready[0] == "True"
    assert stalled is not None
    assert stalled[1] == "GateBlocked"
    assert "1.50% more" in stalled[2]
    world.apply(service(variant="int8").having("replicas", 3)).settle()
    assert world.of_kind("Deployment")[0]["spec"]["replicas"] == 3, "what is served can be scaled"
    assert served(world) == before
    world.apply(gated(0.05)).settle()
    assert world.condition(SERVICE, "chat", "Stalled") is None
    assert world.computed == computed


def test_the_revision_before_goes_on_while_the_new_one_is_blocked() -> None:
    world = measuring(20.0, 20.1).apply(gated(0.02), service(variant="int8")).settle()
    before, old = served(world), int8(world)
    world.perplexities = {"base": 20.0, "int8": 25.0}
    world.apply(gated(0.02, n_routed_experts=8)).settle()
    assert int8(world) == old
    assert coming(world)["digest"] != old["digest"]
    assert coming(world)["gate"]["phase"] == "Blocked"
    assert world.condition(MODEL, "seed", "Ready")[0] == "True"  # type: ignore[index]
    assert world.condition(MODEL, "seed", "Stalled")[1] == "GateBlocked"  # type: ignore[index]
    assert served(world) == before
    assert old["claim"] in {claim["metadata"]["name"] for claim in world.of_kind("PersistentVolumeClaim")}
    assert world.condition(SERVICE, "chat", "Ready")[0] == "True"  # type: ignore[index]
    assert world.status(SERVICE, "chat")["serving"]["digest"] == before
    world.apply(gated(0.3, n_routed_experts=8)).settle()
    assert served(world) == int8(world)["digest"]
    assert old["claim"] not in {claim["metadata"]["name"] for claim in world.of_kind("PersistentVolumeClaim")}


def test_a_service_reads_the_gate_as_it_is_and_not_as_the_status_had_it() -> None:
    """The service may be looked at after the gate has changed and before the model is."""
    world = measuring(20.0, 20.5).apply(gated(0.05)).settle()
    world.apply(gated(0.01), service(variant="int8"))
    world.reconcile(CHAT)
    assert world.of_kind("Deployment") == []


def test_another_text_is_measured_before_the_gate_opens_again() -> None:
    world = measuring(20.0, 20.1).apply(gated(0.02)).settle()
    world.held = {"evaluate"}
    world.apply(gated(0.02).having("evaluation.contextLength", 64), service(variant="int8"))
    world.reconcile(CHAT)
    assert world.of_kind("Deployment") == []
    world.settle()
    assert int8(world)["gate"]["phase"] == "Pending"


@pytest.mark.parametrize(
    ("gate", "phase", "missed"),
    [
        ({"maxKlDivergence": 0.01}, "Passed", []),
        ({"maxKlDivergence": 0.005}, "Passed", []),
        (
            {"maxKlDivergence": 0.0049},
            "Blocked",
            ["its KL divergence from the base is 0.005 nats, 0.0001 more than the 0.0049 of gate.maxKlDivergence"],
        ),
        ({"minTop1Agreement": 0.975}, "Passed", []),
        (
            {"minTop1Agreement": 0.98, "action": "Warn"},
            "Warned",
            ["it agrees with the base on 97.50% of tokens, 0.50% less than the 98.00% of gate.minTop1Agreement"],
        ),
        (
            {"maxPerplexityIncrease": 0.01, "maxKlDivergence": 0.001, "minTop1Agreement": 0.9},
            "Blocked",
            ["perplexity", "KL"],
        ),
        ({"maxPerplexityIncrease": 0.02, "maxKlDivergence": 0.01, "minTop1Agreement": 0.9}, "Passed", []),
    ],
)
def test_every_limit_holds_by_itself_and_says_by_how_much_it_is_missed(
    gate: dict[str, Any], phase: str, missed: list[str]
) -> None:
    world = measuring(20.0, 20.4)
    world.comparisons["int8"] = (0.005, 0.975)
    world.apply(gated(gate), service(variant="int8")).settle()
    found = int8(world)["gate"]
    assert found["phase"] == phase
    assert len(found.get("missed", [])) == len(missed)
    assert all(part in said for part, said in zip(missed, found.get("missed", []), strict=True))
    assert (served(world) is not None) == (phase != "Blocked")
    told = world.condition(MODEL, "seed", "GatesPassed")
    assert told is not None
    assert all(said in told[2] for said in found.get("missed", []))


def test_a_gate_that_warns_serves_and_says_so() -> None:
    world = measuring(20.0, 21.0)
    gate = {"maxPerplexityIncrease": 0.02, "action": "Warn"}
    world.apply(gated(gate), service(variant="int8")).settle()
    assert int8(world)["gate"]["phase"] == "Warned"
    assert served(world) == int8(world)["digest"]
    found = world.condition(MODEL, "seed", "GatesPassed")
    assert found is not None
    assert found[:2] == ("True", "GateWarned")
    assert "variant int8 misses its gate: its perplexity is 5.00% above" in found[2]
    assert world.condition(MODEL, "seed", "Ready")[0] == "True"  # type: ignore[index]
    computed = list(world.computed)
    world.apply(gated({**gate, "action": "Block"})).settle()
    assert world.status(MODEL, "seed")["phase"] == "Blocked"
    assert world.computed == computed


def test_a_gate_without_a_limit_lets_nothing_through() -> None:
    """The API server refuses it; what it stored before it knew the rule is not taken for passed."""
    world = measuring(20.0, 20.0).apply(gated({}), service(variant="int8")).settle()
    assert served(world) is None
    assert "has no limit" in world.condition(MODEL, "seed", "Ready")[2]  # type: ignore[index]


def test_a_limit_that_is_added_computes_only_what_is_not_known() -> None:
    world = measuring(20.0, 20.1).apply(gated(0.02), service(variant="int8")).settle()
    before = list(world.computed)
    world.held = {"compare"}
    world.apply(gated({"maxPerplexityIncrease": 0.02, "maxKlDivergence": 0.01})).settle()
    assert int8(world)["gate"]["phase"] == "Pending"
    assert int8(world)["scores"]["perplexity"] == 20.1, "what is known stays shown"
    assert served(world) == int8(world)["digest"], "what is served goes on"
    assert "compare int8 is at work" in world.condition(MODEL, "seed", "Evaluated")[2]  # type: ignore[index]
    world.held = set()
    world.settle()
    assert world.computed == [*before, "compare int8"]
    assert int8(world)["scores"]["klDivergence"] == 0.001
    world.apply(gated(0.02)).settle()
    assert "klDivergence" not in int8(world)["scores"]
    world.apply(gated({"minTop1Agreement": 0.98})).settle()
    assert int8(world)["scores"]["top1Agreement"] == 0.99
    assert world.computed == [*before, "compare int8"]


def test_a_comparison_with_another_base_says_nothing() -> None:
    gate = {"maxKlDivergence": 0.01}
    world = measuring(20.0, 20.1).apply(gated(gate), service(variant="int8")).settle()
    old = int8(world)
    world.held = {"compare"}
    world.apply(gated(gate, n_routed_experts=8)).settle()
    assert coming(world)["digest"] != old["digest"]
    assert coming(world)["gate"]["phase"] == "Pending"
    assert served(world) == old["digest"]


TASKS = [{"name": name, "source": {"configMap": {"name": name}}} for name in ("capitals", "sums")]


def tasks_of(metric: str, value: float) -> TaskScores:
    return TaskScores(documents=50, few_shot=0, metrics=(TaskMetric(metric=metric, value=value),), seconds=1.0)


def on_tasks(base: TaskScores, made: TaskScores) -> World:
    world = World()
    world.accuracies = {"base": base, "int8": made}
    return world


def gated_on_tasks(limit: float, count: int = 1, **gate: Any) -> Builder:
    model = scratch().variant("int8", gate={"maxTaskScoreDecrease": limit, **gate})
    return model.evaluated(tasks=TASKS[:count])


@pytest.mark.parametrize(
    ("made", "limit", "action", "phase"),
    [
        (0.52, 0.02, "Block", "Passed"),
        (0.5199, 0.02, "Block", "Blocked"),
        (0.5, 0.02, "Warn", "Warned"),
        (0.54, 0.0, "Block", "Passed"),
        (0.9, 0.0, "Block", "Passed"),
        (0.53999, 0.0, "Block", "Passed"),  # equal to the decimals that are shown
        (0.0, 1.0, "Block", "Passed"),
    ],
)
def test_a_task_is_lost_by_points_of_its_score(made: float, limit: float, action: str, phase: str) -> None:
    world = on_tasks(tasks_of("acc", 0.54), tasks_of("acc", made))
    world.apply(gated_on_tasks(limit, action=action), service(variant="int8")).settle()
    assert int8(world)["gate"]["phase"] == phase
    assert (served(world) is not None) == (phase != "Blocked")


def test_a_task_that_is_lost_is_named_with_both_scores_and_by_how_much() -> None:
    world = on_tasks(tasks_of("exact_match", 0.54), tasks_of("exact_match", 0.5))
    world.apply(gated_on_tasks(0.015, count=2)).settle()
    said = "its exact_match in task {} is 0.5 where that of the base is 0.54: 0.04 lower, 0.025 more than the 0.015"
    for name, missed in zip(("capitals", "sums"), int8(world)["gate"]["missed"], strict=True):
        assert missed.startswith(said.format(name))
        assert missed in world.condition(MODEL, "seed", "GatesPassed")[2]  # type: ignore[index]


def test_every_task_is_waited_for_and_a_limit_that_is_loosened_computes_nothing() -> None:
    world = on_tasks(tasks_of("acc", 0.54), tasks_of("acc", 0.5))
    world.apply(gated_on_tasks(0.05)).settle()
    assert int8(world)["gate"]["phase"] == "Passed"
    world.held = {"task"}
    world.apply(gated_on_tasks(0.05, count=2), service(variant="int8")).settle()
    assert int8(world)["gate"]["phase"] == "Pending"
    assert served(world) is None
    world.held = set()
    world.settle()
    assert int8(world)["gate"]["phase"] == "Passed"
    computed = list(world.computed)
    world.apply(gated_on_tasks(0.01, count=2)).settle()
    assert int8(world)["gate"]["phase"] == "Blocked"
    assert world.computed == computed


def test_a_task_file_that_changed_between_base_and_variant_is_not_compared() -> None:
    world = on_tasks(tasks_of("acc", 0.54), tasks_of("exact_match", 0.9)).apply(gated_on_tasks(1.0)).settle()
    (missed,) = int8(world)["gate"]["missed"]
    assert "task capitals has acc of the base and exact_match of the variant" in missed
    assert int8(world)["gate"]["phase"] == "Blocked"


def test_a_limit_of_tasks_without_tasks_lets_nothing_through() -> None:
    """The API server refuses it; it is refused by decision, too."""
    world = World().apply(gated_on_tasks(0.1, count=0), service(variant="int8")).settle()
    assert served(world) is None
    assert "evaluation has none. Add tasks, or drop the limit" in world.condition(MODEL, "seed", "Ready")[2]  # type: ignore[index]


STRICT, LOOSE = {"maxKlDivergence": 0.0005}, {"maxKlDivergence": 0.002, "minTop1Agreement": 0.99}
LIMITS = [None, 0.0, 0.01, 0.02, 0.05, STRICT, LOOSE, {**STRICT, "action": "Warn"}]
CONFIGS: list[dict[str, Any]] = [{}, {"n_routed_experts": 8}]


def _apply(limit: float | dict[str, Any] | None, config: dict[str, Any]) -> Callable[[World], object]:
    return lambda world: world.apply(gated(limit, **config))


def _measure(made: float) -> Callable[[World], object]:
    return lambda world: world.perplexities.update(int8=made)


def _lose(ref: Ref) -> Callable[[World], object]:
    return lambda world: world.objects[ref].pop("status", None)


def _lose_job(index: int) -> Callable[[World], object]:
    def act(world: World) -> None:
        if jobs := world.of_kind("Job"):
            world.drop(Ref.of(jobs[index % len(jobs)]))

    return act


ACTIONS = st.one_of(
    st.builds(_apply, st.sampled_from(LIMITS), st.sampled_from(CONFIGS)),
    st.sampled_from([19.0, 20.1, 20.3, 21.0]).map(_measure),
    st.sampled_from([SEED, CHAT]).map(_lose),
    st.integers(0, 9).map(_lose_job),
    st.sampled_from([SEED, CHAT]).map(lambda ref: lambda world: world.reconcile(ref)),
    st.just(lambda world: world._run_jobs()),
    st.just(lambda world: world.step()),
)


@settings(PATIENT, max_examples=40)
@given(st.lists(ACTIONS, max_size=40))
def test_in_no_order_of_events_is_a_variant_rolled_out_that_its_gate_does_not_let_through(
    actions: list[Callable[[World], object]],
) -> None:
    world = measuring(20.0, 20.1).apply(gated(0.02), service(variant="int8"))
    carried_out = world._carry_out

    def watched(manifest: Any, create_only: bool, adjust: Any) -> bool:
        before = served(world)
        wrote = carried_out(manifest, create_only, adjust)
        if manifest["kind"] == "Deployment" and (now := served(world)) != before:
            variant = world.objects[SEED]["spec"]["variants"][0]
            if (gate := variant.get("gate")) is not None and gate.get("action") != "Warn":
                increase = round(world.measured[now or ""] / 20.0 - 1, 4)
                assert increase <= gate.get("maxPerplexityIncrease", increase)
                assert gate.get("maxKlDivergence", 0.001) >= 0.001
        return wrote

    world._carry_out = watched  # type: ignore[method-assign]
    for act in actions:
        act(world)
    world.settle(150)
    assert not world.step()
