"""Whom a change wakes, and what a decision is shown."""

from typing import Any

import pytest
from deepseek_operator.api.names import MODEL, SERVICE, Label
from deepseek_operator.controllers.decision import Ref
from deepseek_operator.controllers.decision import Warning as ChildWarning
from deepseek_operator.engine.store import Store
from deepseek_runtime.wire.progress import Progress

from tests.unit.engine.conftest import Plain, Waking, child, resource

SEED, CHAT = Ref(MODEL, "team", "seed"), Ref(SERVICE, "team", "chat")
JOB = Ref("Job", "team", "work")


def test_a_child_wakes_its_owner_and_only_when_something_changed(store: Store, woken: list[Ref]) -> None:
    owner = resource()
    store.put(owner)
    woken.clear()
    store.put(child(owner))
    store.put(child(owner))
    store.put(child(owner, version=2))
    assert woken == [SEED], "another version with the same content is no change"
    store.put(child(owner, version=3, status={"active": 1}))
    assert woken == [SEED, SEED]
    store.put(child(owner, version=2, status={"active": 0}))
    assert store.observe(owner).child("Job", "work") == child(owner, version=3, status={"active": 1})


def test_what_is_referred_to_wakes_its_referrers_and_the_other_way_round(store: Store, woken: list[Ref]) -> None:
    service = resource("chat", kind=SERVICE, model="seed")
    store.put(service)
    assert woken == [CHAT, SEED]
    woken.clear()
    store.put(resource())
    assert woken == [SEED, CHAT]
    assert store.observe(service).references == {SEED: resource()}
    assert store.observe(resource()).referrers == (service,)
    woken.clear()
    store.put(resource("chat", 2, SERVICE, model="other"))
    assert SEED in woken
    assert store.observe(resource()).referrers == ()
    woken.clear()
    store.drop(CHAT, "uid-chat")
    assert woken == [CHAT, Ref(MODEL, "team", "other")]


def test_conditions_are_counted_as_they_come_and_go(store: Store) -> None:
    def shown(name: str, version: int, **conditions: str) -> dict[str, Any]:
        told = [{"type": kind, "status": status} for kind, status in conditions.items()]
        return {**resource(name, version), "status": {"conditions": told}}

    store.put(shown("seed", 1, Ready="False", Stalled="True"))
    store.put(shown("other", 2, Ready="True"))
    store.put(child(resource()) | {"status": {"conditions": [{"type": "Complete", "status": "True"}]}})
    store.put(shown("seed", 3, Ready="True"))
    assert store.conditions == {(MODEL, "Ready", "True"): 2}
    assert store.size == 2
    store.drop(SEED, "uid-seed")
    assert store.conditions == {(MODEL, "Ready", "True"): 1}
    store.drop(Ref(MODEL, "team", "other"), "uid-other")
    assert (store.conditions, store.size) == ({}, 0)


def test_a_hundred_new_users_are_one_change_and_who_begins_to_use_is_told_of_at_once() -> None:
    waking = Waking([])
    store = Store({MODEL: Plain(MODEL), SERVICE: Plain(SERVICE)}, "system", waking)
    store.put(resource())
    store.put(resource("chat", kind=SERVICE, model="seed"))
    assert waking.soon == [SEED]
    waking.woken.clear()
    store.put({**resource("chat", 2, SERVICE, model="seed"), "status": {"replicas": 1}})
    assert waking.woken == [CHAT, SEED]
    store.put(child(resource()))
    assert waking.soon == [SEED, SEED], "children change together"


def test_children_of_an_earlier_resource_of_the_same_name_are_not_shown(store: Store) -> None:
    old, new = resource(), resource(version=5)
    new["metadata"]["uid"] = "uid-new"
    store.put(child(old))
    store.put(new)
    assert store.observe(new).children == ()
    assert store.children(SEED) == [child(old)]


def test_only_the_operators_namespace_has_children_of_other_namespaces(store: Store, woken: list[Ref]) -> None:
    def labelled(namespace: str) -> dict[str, Any]:
        obj = child(resource(), "ConfigMap")
        obj["metadata"] |= {"namespace": namespace, "uid": f"uid-{namespace}"}
        return obj

    store.put(labelled("attacker"))
    assert woken == [Ref(MODEL, "attacker", "seed")]
    store.put(labelled("system"))
    assert [obj["metadata"]["namespace"] for obj in store.observe(resource()).children] == ["system"]


def test_an_object_that_is_gone_comes_back_with_a_later_version_only(store: Store) -> None:
    owner = resource()
    store.put(child(owner, version=3))
    store.drop(JOB, "uid-work", "7")
    store.put(child(owner, version=6))
    assert store.get(JOB) is None
    store.put(child(owner, version=8))
    assert store.get(JOB) is not None


def test_a_late_deletion_does_not_hit_a_successor(store: Store) -> None:
    owner, successor = resource(), child(resource(), version=9)
    successor["metadata"]["uid"] = "uid-successor"
    store.put(child(owner))
    store.put(successor)
    store.drop(JOB, "uid-work", "8")
    assert store.get(JOB) == successor


def test_copies_are_slim(store: Store) -> None:
    obj = resource()
    obj["metadata"] |= {
        "managedFields": [{}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "note": "kept"},
    }
    store.put(obj)
    kept = store.get(SEED)
    assert kept is not None
    assert "managedFields" not in kept["metadata"]
    assert kept["metadata"]["annotations"] == {"note": "kept"}
    assert "managedFields" in obj["metadata"], "the caller's object is left alone"


def test_progress_and_warnings_wake_and_end_with_what_they_speak_of(store: Store, woken: list[Ref]) -> None:
    owner = resource()
    pod = child(owner, "Pod", "pod", status={"phase": "Running", "podIP": "192.0.2.1"})
    pod["metadata"]["labels"][Label.WORK] = "build"
    store.put(pod)
    assert store.working == {Ref("Pod", "team", "pod")}
    progress = Progress(identity="i", phase="step", unit="steps", done=1, total=2)
    woken.clear()
    store.set_progress(Ref("Pod", "team", "pod"), progress)
    store.set_progress(Ref("Pod", "team", "pod"), progress)
    assert woken == [SEED]
    assert store.observe(owner).progress == {"pod": progress}
    store.put({**pod, "metadata": {**pod["metadata"], "resourceVersion": "2"}, "status": {"phase": "Pending"}})
    assert store.observe(owner).progress == {}
    assert store.troubled == {Ref("Pod", "team", "pod")}
    told = (ChildWarning("FailedMount", "no such volume", "t"),)
    store.set_warnings(Ref("Pod", "team", "pod"), "uid-pod", told)
    assert store.observe(owner).warnings == {"uid-pod": told}
    store.drop(Ref("Pod", "team", "pod"), "uid-pod")
    assert store.observe(owner).warnings == {}
    assert (store.working, store.troubled) == (set(), set())


@pytest.mark.parametrize(("scheduled", "troubled"), [(1, True), (2, False)])
def test_copies_are_in_trouble_while_pods_are_refused(store: Store, scheduled: int, troubled: bool) -> None:
    status = {"desiredNumberScheduled": 2, "currentNumberScheduled": scheduled}
    store.put(child(resource(), "DaemonSet", "copies", status=status))
    assert (Ref("DaemonSet", "team", "copies") in store.troubled) is troubled


def test_engines_are_never_asked_for_progress(store: Store) -> None:
    pod = child(resource("chat", kind=SERVICE), "Pod", "pod", status={"phase": "Running", "podIP": "192.0.2.1"})
    pod["metadata"]["labels"][Label.WORK] = "build"
    store.put(pod)
    assert store.working == set(), "its readiness says all there is to know"
