"""Objects come back as they were, and need little memory."""

from typing import Any

from deepseek_operator.controllers.decision import Ref
from deepseek_operator.engine.shelf import Shelf
from hypothesis import given
from hypothesis import strategies as st

_NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
"""What the API server knows: int64 and float64."""
_JSON = st.recursive(
    st.none() | st.booleans() | _NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def job(number: int, **more: Any) -> dict[str, Any]:
    meta = {"name": f"job-{number}", "namespace": "team", "uid": f"uid-{number}", "resourceVersion": str(number)}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, **more}


@given(st.lists(st.dictionaries(st.text(), _JSON, max_size=3), max_size=5))
def test_what_is_kept_comes_back(contents: list[dict[str, Any]]) -> None:
    shelf, objects = Shelf(), [job(number, spec=spec) for number, spec in enumerate(contents)]
    for obj in objects:
        shelf.put(Ref.of(obj), shelf.pack(obj, None))
    assert [shelf.get(Ref.of(obj)) for obj in objects] == objects
    assert list(shelf) == [Ref.of(obj) for obj in objects]


def test_a_change_of_the_version_alone_leaves_the_bytes_as_they_are() -> None:
    shelf, later = Shelf(), job(1)
    before = shelf.pack(job(1), None)
    later["metadata"]["resourceVersion"] = "7"
    after = shelf.pack(later, None)
    assert (before.version, after.version) == (1, 7)
    assert before.data == after.data
    assert shelf.pack(job(1, status={}), None).data != before.data


def test_objects_that_are_alike_need_little_memory() -> None:
    shelf = Shelf()
    rules = {"podFailurePolicy": {"rules": [{"action": "Ignore", "onExitCodes": {"values": list(range(100))}}] * 5}}
    packed = [shelf.pack(job(number, spec=rules), None) for number in range(100)]
    assert max(len(entry.data) for entry in packed[1:]) < 100
