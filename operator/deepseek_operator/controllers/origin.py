"""What makes a model's base: the identity of the work, where it reads from, and where the base then came from."""

from dataclasses import dataclass

from deepseek_operator.api.deepseekmodel import Lineage
from deepseek_operator.controllers.conditions import Verdict
from deepseek_operator.desired.pod import Mount

BASE = "base"


@dataclass(frozen=True, slots=True)
class Origin:
    """The work that makes the base.

    `source`: what its Job reads, where that is there. `otherwise`: for a base that is only known from its own volume,
    the condition that holds where nothing is sealed on that volume after all.
    """

    kind: str
    identity: str
    lineage: Lineage
    source: Mount | None = None
    otherwise: Verdict | None = None
