"""What the API server refuses is told in the status, however much it says."""

from deepseek_operator.controllers.decision import Ref
from deepseek_operator.engine import errors, refusals
from deepseek_operator.engine.writer import Failed

from tests.faults.virtual_time import EPOCH
from tests.unit.engine.conftest import resource

LONGEST = 4096
"""Letters that the schema takes as the message of `lastFailure`."""


def test_a_long_refusal_fits_the_status_with_its_remedy() -> None:
    said = "admission webhook denied the request: " + "[policy] containers must be what they are not; " * 200
    failure = Failed(Ref("Deployment", "team", "chat"), errors.from_status(403, {"message": said}))
    message = refusals.told(resource(), {}, failure, EPOCH)["lastFailure"]["message"]
    assert len(message) <= LONGEST
    assert message.startswith("Deployment/chat: refused by the API server: admission webhook denied")
    assert message.endswith("it is tried again.")
