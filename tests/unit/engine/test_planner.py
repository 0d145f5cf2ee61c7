"""What a plan contains: what differs, and nothing else."""

import copy
from typing import Any

import pytest
from deepseek_operator.api.names import FINALIZER_IN_USE
from deepseek_operator.controllers.decision import Child, Decision, Object, Ref, Remove
from deepseek_operator.engine.difference import differences, merge_patch, same_status
from deepseek_operator.engine.planner import Adjust, Apply, Blocked, Create, Plan, fingerprint, plan, stamped
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.merge import merge_patch as rfc7396
from tests.unit.engine.conftest import child, resource

OWNER = resource()
JOB = child(OWNER, spec={"suspend": False, "template": {"spec": {"containers": [{"name": "job", "image": "a"}]}}})
JSON = st.recursive(
    st.booleans() | st.integers() | st.text(min_size=1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=12,
)


def planned(decision: Decision, *seen: Object, owner: Object = OWNER, settled: Any = None) -> Plan:
    found = {Ref.of(obj): obj for obj in seen}
    return plan(owner, decision, found.get, settled or {})


def test_what_is_missing_is_created_and_what_is_there_is_left_alone() -> None:
    once, always = Child(JOB, create_only=True), Child(JOB)
    assert planned(Decision((once,))).children == (Create(JOB),)
    (apply,) = planned(Decision((always,))).children
    assert isinstance(apply, Apply)
    assert apply.uid is None
    assert planned(Decision((once,)), JOB) == Plan()
    assert planned(Decision((always,)), stamped(JOB)[0]) == Plan()


def test_what_makes_pods_is_written_first() -> None:
    claim, policy, engines = (child(OWNER, kind=k) for k in ("PersistentVolumeClaim", "NetworkPolicy", "Deployment"))
    children = planned(Decision((Child(policy), Child(claim), Child(JOB), Child(engines)))).children
    assert [action.ref.kind for action in children] == ["Job", "Deployment", "NetworkPolicy", "PersistentVolumeClaim"]


def test_a_changed_decision_is_applied_though_the_object_contains_it() -> None:
    """A field that is no longer wanted can be told from one that others added by nothing but the hash."""
    before = copy.deepcopy(JOB)
    before["spec"]["nodeSelector"] = {"disk": "ssd"}
    (action,) = planned(Decision((Child(JOB),)), stamped(before)[0]).children
    assert isinstance(action, Apply)
    assert (action.uid, action.drift) == ("uid-work", None)


def test_only_the_adjustable_fields_of_a_created_object_are_brought_in_line() -> None:
    seen = copy.deepcopy(JOB)
    seen["spec"] |= {"suspend": True, "template": {"spec": {"containers": []}}}
    wanted = Child(JOB, create_only=True, adjust=(("spec", "suspend"), ("spec", "parallelism")))
    patch = {"spec": {"suspend": False}, "metadata": {"uid": "uid-work"}}
    assert planned(Decision((wanted,)), seen).children == (Adjust(Ref.of(JOB), patch),)


def test_an_annotation_is_adjusted_beside_the_precondition() -> None:
    seen = copy.deepcopy(JOB)
    wanted = {**JOB, "metadata": {**JOB["metadata"], "annotations": {"lineage": "{}"}}}
    child = Child(wanted, create_only=True, adjust=(("metadata", "annotations", "lineage"),))
    patch = {"metadata": {"annotations": {"lineage": "{}"}, "uid": "uid-work"}}
    assert planned(Decision((child,)), seen).children == (Adjust(Ref.of(JOB), patch),)
    assert planned(Decision((child,)), wanted).children == ()


def test_a_foreign_object_blocks_and_one_on_its_way_out_is_waited_for() -> None:
    foreign = copy.deepcopy(JOB)
    foreign["metadata"]["labels"] = {}
    leaving = copy.deepcopy(JOB)
    leaving["metadata"]["deletionTimestamp"] = "t"
    for wanted in (Child(JOB), Child(JOB, create_only=True)):
        assert planned(Decision((wanted,)), foreign).children == (Blocked(Ref.of(JOB)),)
        assert planned(Decision((wanted,)), leaving) == Plan()


def test_what_the_server_never_shows_as_applied_is_applied_once() -> None:
    seen = stamped(JOB)[0]
    seen = {**seen, "spec": {**seen["spec"], "suspend": True}}
    assert planned(Decision((Child(JOB),)), seen).children != ()
    settled = {Ref.of(JOB): (stamped(JOB)[1], fingerprint(seen))}
    assert planned(Decision((Child(JOB),)), seen, settled=settled) == Plan()
    again = {**seen, "spec": {**seen["spec"], "parallelism": 3, "suspend": True}}
    assert planned(Decision((Child(JOB),)), again, settled=settled).children != ()


def test_only_what_was_seen_is_removed_and_only_once() -> None:
    wanted = Decision(remove=(Remove(Ref.of(JOB), "uid-work", "why"), Remove(Ref.of(JOB), "uid-other", "why")))
    assert planned(wanted) == Plan()
    assert planned(wanted, JOB).deletes == wanted.remove[:1]
    leaving = copy.deepcopy(JOB)
    leaving["metadata"]["deletionTimestamp"] = "t"
    assert planned(wanted, leaving) == Plan()


def test_finalizers_of_others_stay_and_nothing_is_made_for_what_is_being_deleted() -> None:
    owner = copy.deepcopy(OWNER)
    owner["metadata"]["finalizers"] = ["others/thing"]
    held = Decision((Child(JOB),), finalizers=frozenset({FINALIZER_IN_USE}))
    adding = planned(held, owner=owner).add_finalizers
    assert adding is not None
    assert adding["metadata"]["finalizers"] == ["others/thing", FINALIZER_IN_USE]
    assert adding["metadata"]["resourceVersion"] == "1"
    owner["metadata"] |= {"finalizers": ["others/thing", FINALIZER_IN_USE], "deletionTimestamp": "t"}
    assert planned(held, owner=owner) == Plan()
    assert planned(Decision(), owner=owner).keep_finalizers == ("others/thing",)


@pytest.mark.parametrize(
    ("new", "change"),
    [
        ({"phase": "A", "progress": {"percent": 1}, "conditions": []}, "same"),
        ({"phase": "A", "progress": {"percent": 2}}, "volatile"),
        ({"phase": "A"}, "volatile"),
        ({"phase": "B", "progress": {"percent": 1}}, "changed"),
    ],
)
def test_how_much_a_status_changes(new: Object, change: str) -> None:
    owner = {**OWNER, "status": {"phase": "A", "progress": {"percent": 1}}}
    wanted = Decision(status=new, volatile=frozenset({"progress"}))
    assert planned(wanted, owner=owner).status == change


@pytest.mark.parametrize(
    ("desired", "observed"),
    [
        ({"limits": {"cpu": "1000m", "memory": "1024Mi"}}, {"limits": {"cpu": "1", "memory": "1Gi"}}),
        ({"emptyDir": {}, "env": []}, {}),
        ({"volumeMounts": [{"name": "a", "readOnly": False}]}, {"volumeMounts": [{"name": "a"}]}),
        ({"containers": [{"name": "a"}]}, {"containers": [{"name": "a", "terminationMessagePath": "/dev/x"}]}),
        ({"ownerReferences": [{"uid": "1"}]}, {"ownerReferences": [{"uid": "2"}, {"uid": "1", "name": "n"}]}),
    ],
)
def test_the_servers_own_form_is_no_difference(desired: Object, observed: Object) -> None:
    assert list(differences(desired, observed)) == []


@pytest.mark.parametrize(
    ("desired", "observed", "path"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ("a", "b")),
        ({"automountServiceAccountToken": False}, {}, ("automountServiceAccountToken",)),
        ({"env": [{"name": "A"}]}, {"env": [{"name": "A"}, {"name": "B"}]}, ("env",)),
        ({"args": ["a", "b"]}, {"args": ["b", "a"]}, ("args",)),
        ({"limits": {"cpu": "1"}}, {"limits": {"cpu": "2"}}, ("limits", "cpu")),
        ({"env": [{"name": "A", "value": "1Gi"}]}, {"env": [{"name": "A", "value": "1024Mi"}]}, ("env",)),
    ],
)
def test_an_edit_is_a_difference(desired: Object, observed: Object, path: tuple[str, ...]) -> None:
    assert list(differences(desired, observed)) == [path]


@given(st.dictionaries(st.text("abc", min_size=1), JSON), st.dictionaries(st.text("abc", min_size=1), JSON))
def test_the_patch_of_all_differences_leaves_none(desired: Object, observed: Object) -> None:
    patch = merge_patch(desired, list(differences(desired, observed)))
    assert list(differences(desired, rfc7396(observed, patch))) == []


@given(st.dictionaries(st.text("abc", min_size=1), JSON))
def test_a_status_is_the_same_as_itself_with_its_conditions_in_another_order(status: Object) -> None:
    conditions = [{"type": "A", "status": "True"}, {"type": "B", "status": "False"}]
    left, right = {**status, "conditions": conditions}, {**status, "conditions": conditions[::-1], "absent": None}
    assert same_status(left, right)
    assert not same_status(left, {**right, "conditions": conditions[:1]})
