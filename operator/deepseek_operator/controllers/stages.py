"""The stages of a run: one after the other, each on the result of the one before, each once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from deepseek_runtime.wire.job import TrainJob, data_path
from deepseek_runtime.wire.paths import ARTIFACT, INPUT, OUTPUT, STAGES
from deepseek_runtime.wire.progress import Examples

from deepseek_operator.api.deepseekmodel.artifact import ArtifactStatus
from deepseek_operator.api.trainingrun import DatasetStatus, ExamplesStatus, StageSpec, StageStatus, TrainingRunSpec
from deepseek_operator.controllers.attempts import Standing, Work, outdated, stand
from deepseek_operator.controllers.datasets import inside
from deepseek_operator.controllers.decision import Object, Observed, Settings
from deepseek_operator.controllers.failures import failed
from deepseek_operator.controllers.hyperparameters import hyperparameters
from deepseek_operator.controllers.identity import dataset_identity, train_identity
from deepseek_operator.controllers.model_works import one_node
from deepseek_operator.controllers.progress import NOTHING, Shown, duration, shown
from deepseek_operator.desired.claim import run_claim_name
from deepseek_operator.desired.headless import TRAIN
from deepseek_operator.desired.job import job, job_container, job_name, rendezvous
from deepseek_operator.desired.labels import Manifest, Owner
from deepseek_operator.desired.pod import Image, Mount, data_mounts, data_paths

BACKOFF_LIMIT = 6


@dataclass(frozen=True, slots=True)
class Start:
    """What a stage starts from: a sealed model, and where it lies."""

    digest: str
    claim: str
    sub_path: str
    one_node: bool


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage after a decision. `standing` is that of work that is not remembered as done."""

    status: StageStatus
    work: Work | None = None
    standing: Standing | None = None
    figures: Shown = NOTHING
    superseded: tuple[Object, ...] = ()
    """Jobs for another identity of this stage that must be gone before the run's volume has a new writer."""


def first_start(base: ArtifactStatus, access_modes: Sequence[str]) -> Start:
    """Training starts from the base of a DeepSeekModel."""
    return Start(base.digest or "", base.claim, ARTIFACT, one_node(access_modes))


def next_start(run: str, stage: StageStatus, access_modes: Sequence[str]) -> Start:
    """A later stage starts from the export of the one before."""
    sub_path = f"{STAGES}/{stage.name}/{ARTIFACT}"
    return Start(stage.digest or "", run_claim_name(run), sub_path, one_node(access_modes))


def stage_work(
    owner: Owner,
    spec: TrainingRunSpec,
    stage: StageSpec,
    start: Start,
    datasets: Sequence[DatasetStatus],
    settings: Settings,
) -> Work:
    """The Job of one stage, whose datasets are sealed; `suspend` is the one thing that changes while it runs."""
    nodes = spec.compute.nodes
    digests = {dataset.identity: dataset.digest or "" for dataset in datasets}
    fetched = {
        data_path(index): dataset_identity(source.hugging_face)
        for index, source in enumerate(stage.data)
        if source.hugging_face is not None
    }
    config = TrainJob(
        identity=train_identity(start.digest, stage, digests),
        owner=owner.path,
        credential=owner.public_key(settings.master_key),
        stage=stage.name,
        type=stage.type,
        input_digest=start.digest,
        data=data_paths(stage.data),
        datasets={path: digests[identity] for path, identity in fetched.items()},
        hyperparameters=hyperparameters(stage),
        steps=stage.until.steps,
        epochs=stage.until.epochs,
        processes=spec.compute.processes,
        nodes=nodes,
        strategy=spec.compute.parallelism.strategy,
        checkpoint_every_steps=spec.checkpoint.every_steps,
        keep_checkpoints=spec.checkpoint.keep,
    )
    mounts = (
        Mount(INPUT, claim=start.claim, sub_path=start.sub_path),
        Mount(OUTPUT, claim=run_claim_name(owner.name), read_only=False),
        *data_mounts(stage.data),
        *(
            Mount(path, claim=run_claim_name(owner.name), sub_path=f"{inside(identity)}/{ARTIFACT}")
            for path, identity in fetched.items()
        ),
    )

    def manifest(attempt: int) -> Manifest:
        name = job_name(owner.name, TRAIN, stage.name, config.identity, attempt)
        told = config.model_copy(update={"rendezvous": rendezvous(owner, name)}) if nodes > 1 else config
        return job(
            owner,
            work=TRAIN,
            subject=stage.name,
            identity=config.identity,
            attempt=attempt,
            container=job_container(told, mounts, spec.compute),
            image=Image(settings.runtime_image, settings.image_pull_policy),
            pods=spec.compute,
            storage=spec.checkpoint.storage,
            backoff_limit=BACKOFF_LIMIT,
            suspend=spec.suspend,
            reads=start.claim,
            one_node=start.one_node,
            count=nodes,
            neighbours=nodes > 1,
        )

    return Work(TRAIN, stage.name, config.identity, manifest, adjust=(("spec", "suspend"),), together=nodes > 1)


def take(
    work: Work,
    stage: StageSpec,
    old: StageStatus | None,
    observed: Observed,
    now: datetime,
    *,
    suspend: bool,
    hold: bool = False,
) -> Stage:
    """One stage as far as it is; `old` is what the status said of it. `hold`: it is no time to start a Job."""
    if old is not None and old.identity != work.identity:
        old = None
    superseded = outdated(work.kind, work.subject, work.identity, observed)
    if superseded:
        return Stage(_working(stage, work, old, "Pending"), work, superseded=superseded)
    standing = stand(work, observed, now, hold=hold)
    if standing.result is not None:
        return Stage(_complete(stage, work, old, standing), work, standing)
    if standing.state == "Failed":
        return Stage(_working(stage, work, old, "Failed", standing), work, standing)
    phase: Literal["Suspended", "Running"] = "Suspended" if suspend else "Running"
    figures = shown(standing.pods, work.identity, observed, now)
    status = _working(stage, work, old, phase, standing)
    if figures.figures is not None and phase == "Running":
        seen = figures.figures
        live = {
            # Before its first step a pod counts other things: files, tokens.
            "step": (seen.done if seen.unit == "step" else 0) or status.step,
            "loss": seen.loss if seen.loss is not None else status.loss,
            "tokens_per_second": seen.tokens_per_second,
            "remaining": None if seen.remaining_seconds is None else duration(seen.remaining_seconds),
            # A stage that counts epochs learns from its pod how many steps they are.
            "steps": status.steps or (seen.total if seen.unit == "step" else 0) or None,
            "examples": status.examples or _examples(seen.examples),
            "checkpoint_step": seen.checkpoint_step if seen.checkpoint_step is not None else status.checkpoint_step,
        }
        status = status.model_copy(update=live)
    return Stage(status, work, standing, figures)


def waiting(stage: StageSpec) -> StageStatus:
    """A stage whose turn has not come: what it starts from is not known, so neither is its identity."""
    return StageStatus(name=stage.name, phase="Pending", identity="", steps=stage.until.steps)


def _working(
    stage: StageSpec,
    work: Work,
    old: StageStatus | None,
    phase: Literal["Pending", "Running", "Suspended", "Failed"],
    standing: Standing | None = None,
) -> StageStatus:
    return StageStatus(
        name=stage.name,
        phase=phase,
        identity=work.identity,
        steps=stage.until.steps or (old.steps if old else None),
        step=old.step if old else 0,
        loss=old.loss if old else None,
        examples=old.examples if old else None,
        checkpoint_step=old.checkpoint_step if old else None,
        restarts=_restarts(old, standing),
    )


def _complete(stage: StageSpec, work: Work, old: StageStatus | None, standing: Standing) -> StageStatus:
    result = standing.result
    training, artifact = (result.training, result.artifact) if result is not None else (None, None)
    return StageStatus(
        name=stage.name,
        phase="Complete",
        identity=work.identity,
        step=(training.steps if training is not None else stage.until.steps) or 0,
        steps=training.steps if training is not None else stage.until.steps,
        examples=_examples(training.examples if training is not None else None),
        loss=training.loss if training is not None else None,
        tokens_per_second=training.tokens_per_second if training is not None else None,
        restarts=_restarts(old, standing),
        checkpoint_step=old.checkpoint_step if old else None,
        digest=artifact.digest if artifact is not None else None,
        bytes=artifact.bytes if artifact is not None else None,
        seconds=training.seconds if training is not None else None,
        image=result.image if result is not None else None,
    )


def _examples(found: Examples | None) -> ExamplesStatus | None:
    return None if found is None else ExamplesStatus(total=found.total, cut=found.cut, left_out=found.left_out)


def _restarts(old: StageStatus | None, standing: Standing | None) -> int:
    """Pods that were lost, as far as they can still be seen; the number never falls."""
    return max(sum(map(failed, standing.pods if standing else ())), old.restarts if old else 0)
