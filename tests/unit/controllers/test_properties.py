"""Whatever happens in whatever order: decisions are deterministic, come to rest, and hurt nothing that is in use.

The world itself checks at every step that built objects are valid, that nothing is made for what is being deleted, and
that no volume is removed which a pod or a Deployment mounts.
"""

import functools
from collections.abc import Callable

from deepseek_operator.api.names import MODEL, SERVICE, TRAINING
from deepseek_operator.controllers.decision import Ref
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.unit.controllers.builders import NAMESPACE, run, scratch, service, trained
from tests.unit.controllers.world import CONTROLLERS, World

REFS = [
    Ref(MODEL, NAMESPACE, "seed"),
    Ref(MODEL, NAMESPACE, "handbook"),
    Ref(TRAINING, NAMESPACE, "pretrain"),
    Ref(SERVICE, NAMESPACE, "chat"),
]


PATIENT = settings(phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink))  # explaining traces every line


def start() -> World:
    return World().apply(
        scratch(), run(), trained().variant("int8").evaluated(), service(model="handbook", variant="int8")
    )


def reconcile(index: int) -> Callable[[World], object]:
    return lambda world: world.reconcile(REFS[index]) if REFS[index] in world.objects else None


def lose_status(index: int) -> Callable[[World], object]:
    return lambda world: world.objects[REFS[index]].pop("status", None) if REFS[index] in world.objects else None


def lose_job(index: int) -> Callable[[World], object]:
    def act(world: World) -> None:
        if jobs := world.of_kind("Job"):
            world.drop(Ref.of(jobs[index % len(jobs)]))

    return act


def lose_pod(index: int) -> Callable[[World], object]:
    def act(world: World) -> None:
        running = [pod for pod in world.of_kind("Pod") if pod["status"]["phase"] == "Running"]
        if running:
            world._terminate(running[index % len(running)], 137, "", "Error")

    return act


def wander(number: int) -> Callable[[World], object]:
    """The user changes a spec, back and forth."""
    changes = [
        scratch(),
        scratch().having("source.scratch.seed", 1),
        trained().variant("int8").evaluated(),
        trained().variant("int8").variant("more", ignore=["lm_head"]).evaluated(),
        trained().variant("int8"),
        trained().variant("int8").cached().evaluated(),
        trained().variant("int8").cached("base").evaluated(),
        service(model="handbook"),
        service(model="handbook", variant="int8"),
        service(model="seed").having("replicas", 0),
        run().having("suspend", True),
        run(),
    ]
    change = changes[number % len(changes)]
    return lambda world: world.apply(change)


ACTIONS = st.one_of(
    st.integers(0, 3).map(reconcile),
    st.integers(0, 3).map(lose_status),
    st.integers(0, 9).map(lose_job),
    st.integers(0, 9).map(lose_pod),
    st.integers(0, 11).map(wander),
    st.just(lambda world: world.step()),
    st.just(lambda world: world._run_jobs()),
    st.just(lambda world: world._run_deployments()),
    st.just(lambda world: world._run_daemonsets()),
)


@settings(PATIENT, max_examples=25)
@given(st.lists(ACTIONS, max_size=40))
def test_every_history_ends_well_and_at_rest(actions: list[Callable[[World], object]]) -> None:
    world = start()
    for act in actions:
        act(world)
    world.apply(scratch(), run(), trained().variant("int8").evaluated(), service(model="handbook", variant="int8"))
    world.settle(150)
    for ref in REFS:
        ready = world.condition(ref.kind, ref.name, "Ready")
        assert ready is not None
        assert ready[0] == "True", (ref, ready)
        again = world.decide(ref)
        assert again == world.decide(ref)
        assert again.status == world.objects[ref]["status"]
        assert again.events == again.remove == ()
    quiet = {ref: dict(obj["metadata"]) for ref, obj in world.objects.items()}
    assert not world.step()
    assert {ref: obj["metadata"] for ref, obj in world.objects.items()} == quiet


@settings(PATIENT, max_examples=20)
@given(st.lists(ACTIONS, max_size=25), st.permutations(REFS))
def test_everything_can_be_deleted_in_every_order(actions: list[Callable[[World], object]], order: list[Ref]) -> None:
    world = start()
    for act in actions:
        act(world)
    for ref in order:
        obj = world.objects[ref]
        obj["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z"
        obj["metadata"].setdefault("finalizers", []).append("test/wait")
        decision = world.decide(ref)
        assert decision.children == ()
        assert decision.status["phase"] == "Terminating"
        obj["metadata"]["finalizers"].remove("test/wait")
    for _ in range(6):
        for ref in order:
            if ref in world.objects and not world.decide(ref).finalizers:
                for removal in (
                    *world.decide(ref).remove,
                    *CONTROLLERS[ref.kind].orphaned(ref, world.observe(world.objects[ref])),
                ):
                    if removal.ref in world.objects:
                        world.drop(removal.ref)
                world.drop(ref)
    assert world.resources() == []
    assert world.of_kind("ConfigMap") == world.of_kind("Job") == world.of_kind("PersistentVolumeClaim") == []


@functools.cache
def settled() -> World:
    return start().settle()


@settings(PATIENT, max_examples=25)
@given(st.data())
def test_a_decision_survives_any_status_and_any_pod(data: st.DataObject) -> None:
    """Statuses may be edited by hand and pods may look like nothing seen before: no exception, ever."""
    world = settled()
    junk = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
        max_leaves=12,
    )
    for ref in REFS:
        world.objects[ref]["status"] = data.draw(st.dictionaries(st.sampled_from(KEYS), junk, max_size=6))
        assert world.decide(ref).status["observedGeneration"] == world.objects[ref]["metadata"]["generation"]


KEYS = [
    "phase",
    "conditions",
    "artifacts",
    "stages",
    "serving",
    "lastFailure",
    "replicas",
    "architecture",
    "lineage",
    "name",
]
