"""A base that is copied from somebody's claim: once, and from then on it needs that claim no more."""

from pathlib import PurePosixPath

from deepseek_runtime.wire.paths import INPUT

from deepseek_operator.api.deepseekmodel.artifact import Lineage
from deepseek_operator.api.deepseekmodel.source import ExistingClaimSource
from deepseek_operator.api.names import Label
from deepseek_operator.controllers.decision import Object, Observed
from deepseek_operator.controllers.identity import import_identity
from deepseek_operator.controllers.origin import BASE, Origin, noted_lineage
from deepseek_operator.controllers.resource import deleting
from deepseek_operator.desired.labels import identity_label
from deepseek_operator.desired.pod import Mount


def origin(source: ExistingClaimSource, observed: Observed) -> Origin:
    """The import. A volume whose lineage has a digest is sealed: the source is not mounted for it, it may be gone."""
    path = PurePosixPath(source.path or ".")
    lineage = Lineage(source=f"existingClaim/{source.claim_name}/{'' if str(path) == '.' else path}".rstrip("/"))
    identity = import_identity(source)
    for claim in observed.of_kind("PersistentVolumeClaim"):
        noted = noted_lineage(claim)
        if _is_base(claim, identity) and not deleting(claim) and noted is not None and noted.digest is not None:
            return Origin("import", identity, lineage.model_copy(update={"digest": noted.digest}))
    return Origin("import", identity, lineage, Mount(INPUT, claim=source.claim_name))


def _is_base(claim: Object, identity: str) -> bool:
    labels = claim["metadata"].get("labels") or {}
    return (labels.get(Label.SUBJECT), labels.get(Label.IDENTITY)) == (BASE, identity_label(identity))
