"""Where a model's base comes from: the work that makes it, or what it still waits for."""

from dataclasses import dataclass

from deepseek_operator.api.deepseekmodel import DeepSeekModelSpec, DeepSeekModelStatus, Lineage, TrainingRunSource
from deepseek_operator.api.names import TRAINING, Condition, Reason
from deepseek_operator.api.trainingrun import StageSpec, StageStatus, TrainingRunSpec, TrainingRunStatus
from deepseek_operator.controllers.conditions import Verdict, pending, stalled
from deepseek_operator.controllers.decision import Observed, Ref
from deepseek_operator.controllers.identity import build_identity, publish_identity
from deepseek_operator.controllers.remedies import with_remedy
from deepseek_operator.controllers.resource import Seen, see
from deepseek_operator.controllers.sizing import scratch_problem, volume_problem

BASE = "base"

Run = Seen[TrainingRunSpec, TrainingRunStatus]


@dataclass(frozen=True, slots=True)
class Origin:
    """The work that makes the base. For a published one: the run's claim, the stage and the digest of its export."""

    kind: str
    identity: str
    lineage: Lineage
    claim: str | None = None
    stage: str | None = None


def origin(
    namespace: str, spec: DeepSeekModelSpec, previous: DeepSeekModelStatus, observed: Observed
) -> Origin | Verdict:
    """What makes the base, or the condition that says what is missing."""
    if (scratch := spec.source.scratch) is not None:
        if (problem := scratch_problem(scratch, spec.storage.size)) is not None:
            return stalled(Condition.ACQUIRED, *problem)
        return Origin("build", build_identity(scratch), Lineage(source=f"scratch/{scratch.architecture}"))
    if (source := spec.source.training_run) is not None:
        found = _published(namespace, source, spec, observed)
        # What is sealed no longer needs the run it came from.
        return (_sealed(source, previous, observed) or found) if isinstance(found, Verdict) else found
    return stalled(Condition.ACQUIRED, Reason.INVALID_CONFIG, "source must have one of scratch and trainingRun.")


def _published(
    namespace: str, source: TrainingRunSource, spec: DeepSeekModelSpec, observed: Observed
) -> Origin | Verdict:
    resource = observed.references.get(Ref(TRAINING, namespace, source.name))
    if resource is None:
        message = with_remedy(Reason.TRAINING_RUN_NOT_FOUND, f"TrainingRun {source.name} is not in this namespace")
        return pending(Condition.ACQUIRED, Reason.TRAINING_RUN_NOT_FOUND, message)
    run: Run = see(TrainingRunSpec, TrainingRunStatus, resource)
    if run.spec is None:
        return _waiting(f"TrainingRun {run.name} has an invalid spec")
    stage = _stage(run.spec, source.stage)
    if stage is None:
        names = ", ".join(each.name for each in run.spec.stages)
        happened = f"TrainingRun {run.name} has no stage {source.stage}; it has {names}"
        return stalled(Condition.ACQUIRED, Reason.STAGE_NOT_FOUND, with_remedy(Reason.STAGE_NOT_FOUND, happened))
    done = next((each for each in run.status.stages if each.name == stage.name), None)
    if done is None or done.phase != "Complete" or done.digest is None or run.status.claim is None:
        return _waiting(f"stage {stage.name} of TrainingRun {run.name} is {_phase(done)}")
    if (problem := _too_small(done, spec.storage.size, run.name)) is not None:
        return stalled(Condition.ACQUIRED, *problem)
    lineage = Lineage(source=f"trainingRun/{run.name}/{stage.name}", digest=done.digest)
    return Origin("publish", publish_identity(done.digest), lineage, run.status.claim, stage.name)


def _sealed(source: TrainingRunSource, previous: DeepSeekModelStatus, observed: Observed) -> Origin | None:
    """The origin that a sealed base remembers, for a run that is gone or was wiped."""
    lineage = previous.lineage
    base = next((each for each in previous.artifacts if each.name == BASE and each.phase == "Ready"), None)
    if lineage is None or lineage.digest is None or base is None:
        return None
    if observed.child("PersistentVolumeClaim", base.claim) is None:
        return None  # what is lost can only come from the run again
    _, run, stage = lineage.source.split("/") if lineage.source.count("/") == 2 else ("", "", "")
    if run != source.name or source.stage not in (None, stage) or base.identity != publish_identity(lineage.digest):
        return None
    return Origin("publish", base.identity, lineage)


def _stage(run: TrainingRunSpec, name: str | None) -> StageSpec | None:
    return run.stages[-1] if name is None else next((each for each in run.stages if each.name == name), None)


def _phase(stage: StageStatus | None) -> str:
    return "not complete yet" if stage is None or stage.phase == "Complete" else stage.phase.lower()


def _too_small(stage: StageStatus, size: str, run: str) -> tuple[str, str] | None:
    return volume_problem(stage.bytes or 0, size, f"the export of TrainingRun {run}", "storage.size")


def _waiting(message: str) -> Verdict:
    return pending(Condition.ACQUIRED, Reason.WAITING_FOR_TRAINING_RUN, f"{message}.")
