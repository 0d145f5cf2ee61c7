"""The fault tests judge changes of fields by themselves; here the API server is asked whether it agrees."""

import pytest

from tests.faults.fields import mutations
from tests.faults.resources import GOOD, SPECS, full, refusal
from tests.integration.api import Api, path
from tests.integration.objects import resource


@pytest.mark.parametrize("case", GOOD)
def test_what_the_fault_tests_take_for_refused_is_refused(case: str, api: Api, namespace: str) -> None:
    """Every field changed and emptied, one at a time."""
    kind, name, spec = GOOD[case]
    old = full(kind, spec)
    live = api.create(resource(kind, namespace, old, name)).ok()
    assert live["spec"] == old
    refused = 0
    for mutation in mutations(SPECS[kind], old):
        new = mutation.of(old)
        answer = api.request("PUT", f"{path(live)}?dryRun=All&fieldValidation=Strict", {**live, "spec": new})
        reason = refusal(kind, old, new)
        assert (answer.code == 200) == (reason is None), f"{mutation}: {reason}, but {answer.code} {answer.message}"
        if answer.code == 200:
            assert answer.body["spec"] == full(kind, new), mutation
        else:
            assert answer.message
            refused += 1
    assert refused > 3
