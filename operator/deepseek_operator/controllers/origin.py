"""What makes a model's base: the identity of the work, where it reads from, and where the base then came from."""

from dataclasses import dataclass

from pydantic import ValidationError

from deepseek_operator.api.deepseekmodel.artifact import ArtifactStatus, Lineage
from deepseek_operator.api.names import Annotation
from deepseek_operator.controllers.conditions import Verdict
from deepseek_operator.controllers.decision import Object
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

    def traced(self, base: ArtifactStatus | None) -> Lineage:
        """The lineage; that of an import has a digest when what was copied is sealed, and so is known."""
        if self.kind != "import" or base is None or base.phase != "Ready":
            return self.lineage
        return self.lineage.model_copy(update={"digest": base.digest})


def noted_lineage(claim: Object) -> Lineage | None:
    """The lineage that a claim's annotation names."""
    try:
        return Lineage.model_validate_json((claim["metadata"].get("annotations") or {}).get(Annotation.LINEAGE, ""))
    except ValidationError:  # of a variant, or edited by hand
        return None
