"""Signatures of what is made here: beside each artifact, made by a Job that alone has the key."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from deepseek_runtime.wire.paths import EVALUATIONS, SIGNATURE_FILE

from deepseek_operator.api.deepseekmodel.artifact import ArtifactStatus
from deepseek_operator.api.deepseekmodel.signing import SignatureStatus
from deepseek_operator.controllers.artifacts import Advance
from deepseek_operator.controllers.attempts import stand
from deepseek_operator.controllers.decision import Observed
from deepseek_operator.controllers.model_works import ModelWorks
from deepseek_operator.controllers.origin import Origin


def sign(
    works: ModelWorks,
    origin: Origin,
    parts: Sequence[Advance],
    previous: Sequence[ArtifactStatus],
    observed: Observed,
    now: datetime,
) -> tuple[tuple[Advance, ...], tuple[Advance, ...]]:
    """The base and its variants with the signatures that they have, and the signing of each that is sealed."""
    base = parts[0].artifact
    known, signing = {each.name: each.signature for each in previous}, []
    shown = []
    for part in parts:
        unsigned = part.artifact.model_copy(update={"signature": None})
        made = works.made(unsigned.name, base, origin)
        if works.spec.signing is None or made is None or not part.ready:
            shown.append(replace(part, artifact=unsigned))
            continue
        work = works.sign(works.spec.signing.key_secret_ref, made, unsigned)
        signature, old = None, known.get(unsigned.name)
        if old is not None and old.identity == work.identity:
            signature, step = old, Advance(work, unsigned)
        else:
            # What signed a volume that is lost since has left nothing beside the one that is there.
            volume = observed.child("PersistentVolumeClaim", unsigned.claim)
            since = str(volume["metadata"].get("creationTimestamp", "")) if volume is not None else ""
            standing = stand(work, observed, now, volume_since=since)
            children = (standing.child,) if standing.child is not None else ()
            step = Advance(work, unsigned, children, standing, standing.failure)
            if standing.result is not None and standing.result.signature is not None:
                path = f"{EVALUATIONS}/{work.identity}/{SIGNATURE_FILE}"
                signer = standing.result.signature.signer
                signature = SignatureStatus(identity=work.identity, path=path, signer=signer)
        signed = unsigned.model_copy(update={"signature": signature})
        shown.append(replace(part, artifact=signed))
        signing.append(replace(step, artifact=signed))
    return tuple(shown), tuple(signing)
