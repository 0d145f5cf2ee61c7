"""TrainingRun: ordered stages, run once, and a model published from the last."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from deepseek_runtime.wire.paths import ARTIFACT, STATUS_PORT

from deepseek_operator.api.base import LastFailure, ProgressStatus, StatusCondition
from deepseek_operator.api.deepseekmodel.spec import DeepSeekModelSpec
from deepseek_operator.api.deepseekmodel.status import DeepSeekModelStatus
from deepseek_operator.api.names import MODEL, TRAINING, Condition, Reason
from deepseek_operator.api.trainingrun import (
    DatasetStatus,
    StageSpec,
    StageStatus,
    StartStatus,
    TrainingRunSpec,
    TrainingRunStatus,
)
from deepseek_operator.controllers.attempts import Standing, Work, remove
from deepseek_operator.controllers.conditions import (
    Verdict,
    holds,
    pending,
    refused,
    roll_up,
    stalled,
    stamp,
    terminating,
)
from deepseek_operator.controllers.datasets import Dataset, Place, hub_datasets, take_datasets
from deepseek_operator.controllers.decision import Child, Decision, Object, Observed, Ref, Remove, Settings
from deepseek_operator.controllers.events import transitions
from deepseek_operator.controllers.failures import claim_failure
from deepseek_operator.controllers.isolation import isolate
from deepseek_operator.controllers.origin import BASE
from deepseek_operator.controllers.progress import Shown, percent, progress_status
from deepseek_operator.controllers.publication import publication
from deepseek_operator.controllers.remedies import REMEDIES, with_remedy
from deepseek_operator.controllers.resource import Invalid, deleting, read_spec, read_status, see
from deepseek_operator.controllers.sizing import Problem, checkpoints_problem, sharing_problem
from deepseek_operator.controllers.stages import Stage, Start, first_start, next_start, stage_work, take, waiting
from deepseek_operator.controllers.verification import obstacle
from deepseek_operator.controllers.volumes import growing, growth, without_volume
from deepseek_operator.desired.claim import run_claim
from deepseek_operator.desired.headless import headless
from deepseek_operator.desired.labels import Owner

VOLATILE = frozenset({"progress", "percent", "stages"})
"""A stage that starts, ends or fails changes the phase, the stage at work or a condition as well."""

Phase = Literal["Pending", "Fetching", "Training", "Suspended", "Complete", "Failed"]


@dataclass(frozen=True, slots=True)
class Course:
    """How far a run has come. `verdict` is that of all stages together."""

    verdict: Verdict
    stages: tuple[StageStatus, ...]
    base: StartStatus | None = None
    """What the first stage has started from, until it is complete."""
    current: Stage | None = None
    claim: Child | None = None
    failure: LastFailure | None = None
    datasets: tuple[Dataset, ...] = ()
    """Of the stage whose turn it is."""

    @property
    def complete(self) -> bool:
        """Every stage is done."""
        return self.verdict.status == "True"

    @property
    def works(self) -> tuple[tuple[Work, Standing, Shown], ...]:
        """What is at work: the datasets of a stage, or the stage."""
        found = [(dataset.work, dataset.standing, dataset.figures) for dataset in self.datasets]
        if self.current is not None and self.current.work is not None:
            found.append((self.current.work, self.current.standing, self.current.figures))
        return tuple((work, standing, figures) for work, standing, figures in found if standing is not None)


class TrainingController:
    """Decides for one TrainingRun."""

    kind = TRAINING

    def references(self, resource: Object) -> frozenset[Ref]:
        """The model that training starts from, and the one that is published."""
        spec = read_spec(TrainingRunSpec, resource)
        if isinstance(spec, Invalid):
            return frozenset()
        names = [spec.base.model, *([spec.publish.model] if spec.publish is not None else [])]
        return frozenset(Ref(MODEL, resource["metadata"]["namespace"], name) for name in names)

    def decide(self, resource: Object, observed: Observed, now: datetime, settings: Settings) -> Decision:
        """Children, removals and status of a run."""
        owner = Owner.of(resource)
        previous = read_status(TrainingRunStatus, resource)
        generation = resource["metadata"]["generation"]
        spec = read_spec(TrainingRunSpec, resource)
        if deleting(resource):
            conditions = stamp(terminating(), previous.conditions, generation, now)
            status = _outside(previous, "Terminating", conditions, generation)
            return Decision(status=status.to_object(), volatile=VOLATILE)
        if isinstance(spec, Invalid):
            verdicts = refused(Reason.INVALID_CONFIG, spec.message)
            conditions = stamp(verdicts, previous.conditions, generation, now)
            status = _outside(previous, "Failed", conditions, generation)
            events = transitions(previous, status, "Validate")
            return Decision(status=status.to_object(), events=events, volatile=VOLATILE)
        course = follow(owner, spec, previous, observed, now, settings)
        model, published, obstacle = None, previous.published_model, None
        if course.complete and spec.publish is not None:
            model, published, obstacle = publication(owner, spec.publish, previous.published_model, observed)
        status = _status(course, obstacle, previous, generation, now)
        status = status.model_copy(update={"published_model": published})
        standing = course.current.standing if course.current is not None else None
        several = max(spec.compute.nodes, standing.width if standing is not None else 1) > 1
        fetches = any(hub_datasets(stage) for stage in spec.stages)
        isolation = isolate(owner, (STATUS_PORT,), observed, settings, among_themselves=several, fetches=fetches)
        names = Child(headless(owner)) if several and course.claim is not None else None
        children = (course.claim, names, *(standing.child for _, standing, _ in course.works), model)
        waits = [wait for _, at, figures in course.works for wait in (at.wake_after, figures.wake_after)]
        return Decision(
            children=(*isolation.children, *(child for child in children if child is not None)),
            remove=(*isolation.remove, *_removals(course, observed)),
            status=status.to_object(),
            events=transitions(previous, status, "Train"),
            wake_after=min((wait for wait in waits if wait is not None), default=None),
            volatile=VOLATILE,
        )

    def orphaned(self, ref: Ref, observed: Observed) -> tuple[Remove, ...]:
        """Nothing: the claim, the Jobs and the policy have an owner reference, and the published model stays."""
        return ()


def follow(
    owner: Owner,
    spec: TrainingRunSpec,
    previous: TrainingRunStatus,
    observed: Observed,
    now: datetime,
    settings: Settings,
) -> Course:
    """How far the run has come. A stage that is complete stays so, whatever becomes of base, Jobs and volumes."""
    known = {stage.name: stage for stage in previous.stages}
    done = _finished(spec, known)
    left = spec.stages[len(done) :]
    if not left:
        return Course(_all_complete(spec), tuple(done))
    modes = spec.checkpoint.storage.access_modes
    base = None if done else previous.base
    start = next_start(owner.name, done[-1], modes) if done else _start(owner, spec, base, observed)
    if isinstance(start, Verdict):
        return Course(start, tuple(known.get(stage.name) or waiting(stage) for stage in spec.stages), base)
    manifest = run_claim(owner, spec.checkpoint.storage)
    claim = Child(manifest, create_only=True, adjust=growth(manifest, observed))
    grows = growing(manifest, observed)
    hold = grows is not None
    for index, stage in enumerate(left):
        place = Place(owner, start.claim, start.sub_path, start.one_node)
        datasets = take_datasets(place, spec, stage, previous.datasets, observed, now, settings, hold=hold)
        if not all(dataset.ready for dataset in datasets):
            failure = _claim_failure(manifest["metadata"]["name"], observed) or _fetch_failure(datasets)
            stages = (*done, *(waiting(later) for later in left[index:]))
            verdict = _fetching(spec, stage, datasets, failure, grows)
            return Course(verdict, stages, base, claim=claim, failure=failure, datasets=datasets)
        work = stage_work(owner, spec, stage, start, [dataset.status for dataset in datasets], settings)
        current = take(work, stage, known.get(stage.name), observed, now, suspend=spec.suspend, hold=hold)
        done.append(current.status)
        if not _done(current.status):
            if len(done) == 1:
                base = StartStatus(digest=start.digest, claim=start.claim, one_node=start.one_node)
            failure = _failure(current, manifest["metadata"]["name"], observed)
            stages = (*done, *(waiting(later) for later in left[index + 1 :]))
            return Course(_verdict(spec, current, failure, grows), stages, base, current, claim, failure, datasets)
        base = None
        start = next_start(owner.name, current.status, modes)
    return Course(_all_complete(spec), tuple(done), claim=claim)


def _finished(spec: TrainingRunSpec, known: dict[str, StageStatus]) -> list[StageStatus]:
    """The first stages as far as they are remembered as complete."""
    done: list[StageStatus] = []
    for stage in spec.stages:
        old = known.get(stage.name)
        if old is None or not _done(old):
            break
        done.append(old)
    return done


def _done(stage: StageStatus) -> bool:
    return stage.phase == "Complete" and stage.digest is not None


def _failure(stage: Stage, claim: str, observed: Observed) -> LastFailure | None:
    stuck = _claim_failure(claim, observed)
    return stuck or (stage.standing.failure if stage.standing is not None else None)


def _claim_failure(claim: str, observed: Observed) -> LastFailure | None:
    stuck = claim_failure(observed.child("PersistentVolumeClaim", claim), observed)
    return stuck.of(f"PersistentVolumeClaim/{claim}") if stuck is not None else None


def _fetch_failure(datasets: tuple[Dataset, ...]) -> LastFailure | None:
    found = (dataset.standing.failure for dataset in datasets if dataset.standing is not None)
    return next((failure for failure in found if failure is not None), None)


def _fetching(
    spec: TrainingRunSpec,
    stage: StageSpec,
    datasets: tuple[Dataset, ...],
    failure: LastFailure | None,
    grows: str | None,
) -> Verdict:
    """What a stage says that waits for its datasets."""
    open_ = next(dataset for dataset in datasets if not dataset.ready)
    what = f"dataset {open_.status.repo} of stage {stage.name}"
    if failure is not None and any(dataset.status.phase == "Failed" for dataset in datasets):
        reason = failure.reason if failure.reason in REMEDIES else Reason.WORK_FAILED
        return stalled(Condition.STAGES_COMPLETE, reason, f"{what} cannot be fetched: {failure.message}")
    if spec.suspend:
        message = f"the fetch of {what} is suspended; it goes on where it stopped when suspend is false."
        return pending(Condition.STAGES_COMPLETE, Reason.SUSPENDED, message)
    if failure is not None:
        return pending(Condition.STAGES_COMPLETE, failure.reason, failure.message)
    if open_.trouble is not None:
        return pending(Condition.STAGES_COMPLETE, *open_.trouble)
    if grows is not None and open_.standing is not None and open_.standing.waits:
        return pending(Condition.STAGES_COMPLETE, Reason.PENDING, f"{what} waits: {grows}")
    job = open_.standing.job if open_.standing is not None else ""
    return pending(Condition.STAGES_COMPLETE, Reason.FETCHING, f"{what} is being fetched in Job {job}.")


def _start(owner: Owner, spec: TrainingRunSpec, held: StartStatus | None, observed: Observed) -> Start | Verdict:
    """What the first stage starts from, or the condition that says what is missing.

    What it has started from stays, though its model be another by now or gone: a run happens once.
    """
    found = _sealed(owner, spec, observed) if held is None else Start(held.digest, held.claim, ARTIFACT, held.one_node)
    if isinstance(found, Verdict) or (held is not None and observed.pods):
        return found
    problem = _unfit(owner, spec, found, observed)
    return found if problem is None else stalled(Condition.STAGES_COMPLETE, *problem)


def _sealed(owner: Owner, spec: TrainingRunSpec, observed: Observed) -> Start | Verdict:
    name = spec.base.model
    resource = observed.references.get(Ref(MODEL, owner.namespace, name))
    if resource is None:
        message = with_remedy(Reason.MODEL_NOT_FOUND, f"DeepSeekModel {name} is not in this namespace")
        return pending(Condition.STAGES_COMPLETE, Reason.MODEL_NOT_FOUND, message)
    model = see(DeepSeekModelSpec, DeepSeekModelStatus, resource)
    base = next((each for each in model.status.artifacts if each.name == BASE), None)
    if model.deleting or model.spec is None or base is None or base.phase != "Ready" or base.digest is None:
        state = "being deleted" if model.deleting else (model.status.phase or "not looked at yet").lower()
        message = f"the base of DeepSeekModel {name} is not sealed: the model is {state}."
        return pending(Condition.STAGES_COMPLETE, Reason.WAITING_FOR_MODEL, message)
    if (unverified := obstacle(Condition.STAGES_COMPLETE, name, model.spec, model.status)) is not None:
        return unverified
    return first_start(base, model.spec.storage.access_modes)


def _unfit(owner: Owner, spec: TrainingRunSpec, start: Start, observed: Observed) -> Problem | None:
    """Why the volumes do not do: they cannot be shared by the pods, or are too small for the model."""
    name, storage = spec.base.model, spec.checkpoint.storage
    shared: dict[str, Sequence[str]] = {
        f"storage.accessModes of DeepSeekModel {name}": ["ReadWriteOnce" if start.one_node else "ReadWriteMany"],
        "checkpoint.storage.accessModes": storage.access_modes,
    }
    if (problem := sharing_problem(spec.compute.nodes, shared)) is not None:
        return problem
    resource = observed.references.get(Ref(MODEL, owner.namespace, name))
    found = None if resource is None else see(DeepSeekModelSpec, DeepSeekModelStatus, resource).status.architecture
    if found is None:
        return None
    return checkpoints_problem(found.parameters, spec.checkpoint.keep, len(spec.stages), storage.size)


def _verdict(spec: TrainingRunSpec, stage: Stage, failure: LastFailure | None, grows: str | None) -> Verdict:
    name, standing = stage.status.name, stage.standing
    if stage.superseded:
        message = f"stage {name} waits until Job {stage.superseded[0]['metadata']['name']} has ended."
        return pending(Condition.STAGES_COMPLETE, Reason.PENDING, message)
    if standing is not None and standing.state == "Failed" and failure is not None:
        reason = failure.reason if failure.reason in REMEDIES else Reason.WORK_FAILED
        return stalled(Condition.STAGES_COMPLETE, reason, f"stage {name} failed: {failure.message}")
    if spec.suspend:
        message = f"stage {name} is suspended; it goes on from its checkpoint when suspend is false."
        return pending(Condition.STAGES_COMPLETE, Reason.SUSPENDED, message)
    if failure is not None and (standing is None or standing.blocked):
        return pending(Condition.STAGES_COMPLETE, failure.reason, failure.message)
    if grows is not None and standing is not None and standing.waits:
        return pending(Condition.STAGES_COMPLETE, Reason.PENDING, f"stage {name} waits: {grows}")
    job = standing.job if standing is not None else ""
    return pending(Condition.STAGES_COMPLETE, Reason.TRAINING, f"stage {name} is at work in Job {job}.")


def _all_complete(spec: TrainingRunSpec) -> Verdict:
    names = ", ".join(stage.name for stage in spec.stages)
    return holds(Condition.STAGES_COMPLETE, Reason.COMPLETE, f"complete: {names}.")


def _outside(
    previous: TrainingRunStatus,
    phase: Literal["Terminating", "Failed"],
    conditions: list[StatusCondition],
    generation: int,
) -> TrainingRunStatus:
    """The status of a run that is not worked on: what was known of its stages stays."""
    changed = {"phase": phase, "progress": None, "observed_generation": generation, "conditions": conditions}
    return previous.model_copy(update=changed)


def _status(
    course: Course, obstacle: Verdict | None, previous: TrainingRunStatus, generation: int, now: datetime
) -> TrainingRunStatus:
    ready = holds(Condition.READY, Reason.COMPLETE, course.verdict.message)
    # The stages are complete all the same; what stands in the way of publishing is Ready's alone.
    verdicts = (*roll_up((obstacle,), ready)[:2], course.verdict) if obstacle else roll_up((course.verdict,), ready)
    current = course.current
    verdicts = (*verdicts, *(shown.unreachable for _, _, shown in course.works[:1] if shown.unreachable is not None))
    return TrainingRunStatus(
        observed_generation=generation,
        conditions=stamp(verdicts, previous.conditions, generation, now),
        last_failure=_last_failure(course, previous),
        progress=_progress(course),
        phase=_phase(course),
        stage=current.status.name if current is not None else course.stages[-1].name if course.complete else None,
        percent=_percent(course.stages),
        base=course.base,
        stages=list(course.stages),
        datasets=_datasets(course, previous),
        claim=_claim(course, previous),
    )


def _percent(stages: tuple[StageStatus, ...]) -> int | None:
    steps = [stage.steps for stage in stages if stage.steps is not None]
    return percent(sum(stage.step for stage in stages), sum(steps)) if len(steps) == len(stages) else None


def _progress(course: Course) -> ProgressStatus | None:
    shown = ((work.called, figures.figures) for work, _, figures in course.works)
    return next((progress_status(called, figures) for called, figures in shown if figures is not None), None)


def _datasets(course: Course, previous: TrainingRunStatus) -> list[DatasetStatus]:
    """Those of this stage as they are now, those of earlier stages as they were."""
    now = {dataset.status.identity: dataset.status for dataset in course.datasets}
    return [*(old for old in previous.datasets if old.identity not in now), *now.values()]


def _claim(course: Course, previous: TrainingRunStatus) -> str | None:
    return str(course.claim.manifest["metadata"]["name"]) if course.claim is not None else previous.claim


def _last_failure(course: Course, previous: TrainingRunStatus) -> LastFailure | None:
    if course.complete:
        return None
    if course.failure is not None:
        return course.failure
    old = previous.last_failure
    if old is None or not course.works:
        return old
    claim = course.claim.manifest["metadata"]["name"] if course.claim is not None else ""
    open_ = {f"Job/{standing.job}" for _, standing, _ in course.works}
    return old if old.component in {*open_, f"PersistentVolumeClaim/{claim}"} else None


def _phase(course: Course) -> Phase:
    if course.complete:
        return "Complete"
    if course.verdict.stalled:
        return "Failed"
    if course.verdict.reason == Reason.SUSPENDED:
        return "Suspended"
    if course.current is None:
        return "Fetching" if course.datasets else "Pending"
    return "Pending" if course.current.standing is None else "Training"


def _removals(course: Course, observed: Observed) -> tuple[Remove, ...]:
    """What has to be made anew, and Jobs that would write the run's volume for what is no longer wanted."""
    anew = [removal for _, standing, _ in course.works for removal in standing.removals]
    if course.claim is not None:
        anew += without_volume((course.claim,), observed)
    stale = course.current.superseded if course.current is not None else ()
    return (*anew, *(removal for job in stale for removal in remove(job, "it trains on what is no longer wanted")))
