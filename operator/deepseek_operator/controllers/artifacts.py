"""One sealed artifact of a model: from what its Job left behind, or from the status that remembers it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from deepseek_runtime.wire.result import JobResult

from deepseek_operator.api.base import LastFailure, Storage
from deepseek_operator.api.deepseekmodel.architecture import ArchitectureStatus
from deepseek_operator.api.deepseekmodel.artifact import ArtifactStatus
from deepseek_operator.api.deepseekmodel.export import ExportStatus
from deepseek_operator.api.deepseekmodel.quantization import QuantizationStatus
from deepseek_operator.api.names import Annotation, Reason
from deepseek_operator.controllers.attempts import Standing, Work, ended, gave_up, jobs_of, jobs_on, stand
from deepseek_operator.controllers.conditions import moment, timestamp
from deepseek_operator.controllers.decision import Child, Observed
from deepseek_operator.controllers.failures import claim_failure
from deepseek_operator.controllers.origin import Origin
from deepseek_operator.controllers.progress import trouble
from deepseek_operator.controllers.volumes import growing, growth
from deepseek_operator.desired.claim import artifact_claim, artifact_claim_name
from deepseek_operator.desired.labels import Owner

_LINEAGE = ("metadata", "annotations", Annotation.LINEAGE)

Progressed = Literal["Working", "Ready", "Failed"]


@dataclass(frozen=True, slots=True)
class Advance:
    """One part after a decision. `standing` is that of work that is not remembered as done."""

    work: Work
    artifact: ArtifactStatus
    children: tuple[Child, ...] = ()
    standing: Standing | None = None
    failure: LastFailure | None = None
    architecture: ArchitectureStatus | None = None
    trouble: tuple[str, str] | None = None
    """Reason and message of what the work cannot get past for now, though it goes on trying."""

    @property
    def ready(self) -> bool:
        """Sealed, or measured."""
        return self.standing is None or self.standing.state == "Succeeded"

    @property
    def over(self) -> bool:
        """Ready, or given up: no Job of it is at work, nor will be by itself."""
        return self.standing is None or self.standing.state != "Working"


def advance(
    owner: Owner,
    work: Work,
    storage: Storage,
    previous: Sequence[ArtifactStatus],
    observed: Observed,
    now: datetime,
    origin: Origin | None = None,
) -> Advance:
    """Make the base, which has an origin, or a variant, unless it is remembered as made and its volume is there."""

    def claim(made: ArtifactStatus | None) -> Child:
        lineage = origin.traced(made) if origin is not None else None
        manifest = artifact_claim(owner, work.subject, work.identity, storage, lineage)
        # What is sealed needs no more room, and its class may not give it; unless work on it has failed for want of it.
        full = made is None or made.phase != "Ready" or any(map(gave_up, jobs_on(work.subject, observed)))
        return Child(manifest, create_only=True, adjust=(*(growth(manifest, observed) if full else ()), _LINEAGE))

    name = artifact_claim_name(owner.name, work.subject, work.identity)
    seen = observed.child("PersistentVolumeClaim", name)
    known = remembered(work.subject, work.identity, previous)
    if known is not None and seen is not None and all(ended(job) for job in jobs_of(work, observed)):
        return Advance(work, known.model_copy(update={"claim": name}), (claim(known),))
    since = seen["metadata"].get("creationTimestamp", "") if seen is not None else timestamp(now)
    grows = growing(claim(None).manifest, observed)
    standing = stand(work, observed, now, volume_since=since, hold=grows is not None)
    stuck = claim_failure(seen, observed)
    failure = stuck.of(f"PersistentVolumeClaim/{name}") if stuck is not None else standing.failure
    phases: dict[str, Progressed] = {"Working": "Working", "Succeeded": "Ready", "Failed": "Failed"}
    artifact = ArtifactStatus(name=work.subject, phase=phases[standing.state], identity=work.identity, claim=name)
    architecture = None
    if standing.result is not None:
        artifact, architecture = _filled(artifact, standing.result)
    children = (claim(artifact), *((standing.child,) if standing.child is not None else ()))
    held = trouble(standing.pods, work.identity, observed, now)
    if grows is not None and standing.waits:
        held = (Reason.PENDING, grows)
    return Advance(work, artifact, children, standing, failure, architecture, held)


def remembered(name: str, identity: str, previous: Sequence[ArtifactStatus]) -> ArtifactStatus | None:
    """The artifact as a status remembers it, if it is sealed and of this identity."""
    for artifact in previous:
        if (artifact.name, artifact.identity, artifact.phase) == (name, identity, "Ready") and artifact.digest:
            return artifact
    return None


def _filled(artifact: ArtifactStatus, result: JobResult) -> tuple[ArtifactStatus, ArchitectureStatus | None]:
    sealed, quantization = result.artifact, result.quantization
    facts = {
        "image": result.image,
        "seconds": _seconds(result),
        "digest": sealed.digest if sealed is not None else None,
        "bytes": sealed.bytes if sealed is not None else None,
        "weight_bytes": (sealed.weight_bytes or None) if sealed is not None else None,
        "revision": _revision(result),
        "dtype": sealed.dtype if sealed is not None else None,
        "quantization": QuantizationStatus.model_validate(quantization.model_dump()) if quantization else None,
        "export": ExportStatus.model_validate(result.export.model_dump()) if result.export else None,
    }
    architecture = ArchitectureStatus.model_validate(sealed.architecture.model_dump()) if sealed else None
    return artifact.model_copy(update=facts), architecture


def _revision(result: JobResult) -> str | None:
    if result.fetched is not None:
        return result.fetched.commit
    return result.artifact.digest if result.artifact is not None and result.kind == "import" else None


def _seconds(result: JobResult) -> float | None:
    if result.started_at is None or result.finished_at is None:
        return None
    return round((moment(result.finished_at) - moment(result.started_at)).total_seconds(), 1)
