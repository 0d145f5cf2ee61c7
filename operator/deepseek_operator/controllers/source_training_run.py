"""A base that a TrainingRun publishes: from the run while it is there, afterwards from the base's own volume."""

from dataclasses import replace

from deepseek_runtime.wire.paths import ARTIFACT, INPUT, STAGES

from deepseek_operator.api.deepseekmodel.artifact import Lineage
from deepseek_operator.api.deepseekmodel.source import TrainingRunSource
from deepseek_operator.api.deepseekmodel.status import DeepSeekModelStatus
from deepseek_operator.api.names import TRAINING, Condition, Label, Reason
from deepseek_operator.api.trainingrun import StageSpec, StageStatus, TrainingRunSpec, TrainingRunStatus
from deepseek_operator.controllers.conditions import Verdict, pending, stalled
from deepseek_operator.controllers.decision import Object, Observed, Ref
from deepseek_operator.controllers.identity import publish_identity
from deepseek_operator.controllers.origin import BASE, Origin, noted_lineage
from deepseek_operator.controllers.remedies import with_remedy
from deepseek_operator.controllers.resource import Seen, deleting, see
from deepseek_operator.controllers.sizing import volume_problem
from deepseek_operator.desired.labels import identity_label
from deepseek_operator.desired.pod import Mount

Run = Seen[TrainingRunSpec, TrainingRunStatus]


def origin(
    namespace: str, source: TrainingRunSource, size: str, previous: DeepSeekModelStatus, observed: Observed
) -> Origin | Verdict:
    """What the run exports; what is published already no longer needs the run it came from."""
    found = _exported(namespace, source, size, observed)
    if isinstance(found, Origin):
        return found
    return _remembered(source, previous, observed) or _noted(source, found, observed) or found


def _exported(namespace: str, source: TrainingRunSource, size: str, observed: Observed) -> Origin | Verdict:
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
    if (problem := _too_small(done, size, run.name)) is not None:
        return stalled(Condition.ACQUIRED, *problem)
    export = Mount(INPUT, claim=run.status.claim, sub_path=f"{STAGES}/{stage.name}/{ARTIFACT}")
    return replace(
        _published(Lineage(source=f"trainingRun/{run.name}/{stage.name}", digest=done.digest)), source=export
    )


def _remembered(source: TrainingRunSource, previous: DeepSeekModelStatus, observed: Observed) -> Origin | None:
    """The origin of the base that the status knows to be sealed."""
    base = next((each for each in previous.artifacts if each.name == BASE and each.phase == "Ready"), None)
    if base is None or previous.lineage is None or not _of(source, previous.lineage):
        return None
    if observed.child("PersistentVolumeClaim", base.claim) is None:
        return None  # what is lost can only come from the run again
    found = _published(previous.lineage)
    return found if found.identity == base.identity else None


def _noted(source: TrainingRunSource, found: Verdict, observed: Observed) -> Origin | None:
    """The origin that the newest volume of a base names in its annotation: its Job tells whether it is sealed."""
    for claim in sorted(observed.of_kind("PersistentVolumeClaim"), key=_age, reverse=True):
        lineage = noted_lineage(claim)
        if lineage is not None and _of(source, lineage) and not deleting(claim):
            known = _published(lineage)
            if claim["metadata"]["labels"].get(Label.IDENTITY) == identity_label(known.identity):
                return replace(known, otherwise=found)
    return None


def _published(lineage: Lineage) -> Origin:
    return Origin("publish", publish_identity(lineage.digest or ""), lineage)


def _of(source: TrainingRunSource, lineage: Lineage) -> bool:
    """Whether a base of this lineage is what the source names."""
    kind, _, rest = lineage.source.partition("/")
    run, _, stage = rest.partition("/")
    return (kind, run) == ("trainingRun", source.name) and source.stage in (None, stage) and lineage.digest is not None


def _age(obj: Object) -> tuple[str, str]:
    return str(obj["metadata"].get("creationTimestamp", "")), str(obj["metadata"]["name"])


def _stage(run: TrainingRunSpec, name: str | None) -> StageSpec | None:
    return run.stages[-1] if name is None else next((each for each in run.stages if each.name == name), None)


def _phase(stage: StageStatus | None) -> str:
    return "not complete yet" if stage is None or stage.phase == "Complete" else stage.phase.lower()


def _too_small(stage: StageStatus, size: str, run: str) -> tuple[str, str] | None:
    return volume_problem(stage.bytes or 0, size, f"the export of TrainingRun {run}", "storage.size")


def _waiting(message: str) -> Verdict:
    return pending(Condition.ACQUIRED, Reason.WAITING_FOR_TRAINING_RUN, f"{message}.")
