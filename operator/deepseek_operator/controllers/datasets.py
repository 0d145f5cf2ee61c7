"""The datasets of hubs that a stage learns from: each fetched once, onto the run's own volume, before the stage."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from deepseek_runtime.wire.job import DatasetJob
from deepseek_runtime.wire.paths import DATASETS, INPUT, OUTPUT, TOKEN, TOKEN_FILE

from deepseek_operator.api.trainingrun import DatasetStatus, HubDataset, StageSpec, TrainingRunSpec
from deepseek_operator.controllers.attempts import Standing, Work, ended, jobs_of, stand
from deepseek_operator.controllers.decision import Observed, Settings
from deepseek_operator.controllers.identity import dataset_identity
from deepseek_operator.controllers.progress import NOTHING, Shown, shown, trouble
from deepseek_operator.desired.claim import run_claim_name
from deepseek_operator.desired.job import job, job_container
from deepseek_operator.desired.labels import Manifest, Owner
from deepseek_operator.desired.networkpolicy import FETCH
from deepseek_operator.desired.pod import Image, Mount, hub_token

SUBJECT = "data"


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset after a decision. `standing` is that of a fetch that is not remembered as done."""

    status: DatasetStatus
    work: Work
    standing: Standing | None = None
    figures: Shown = NOTHING
    trouble: tuple[str, str] | None = None
    """Reason and message of what the fetch cannot get past for now, though it goes on trying."""

    @property
    def ready(self) -> bool:
        """Sealed on the run's volume."""
        return self.status.phase == "Ready"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a fetch writes, and the claim on whose node that volume must be made, if that one is ReadWriteOnce."""

    owner: Owner
    beside: str
    sub_path: str
    one_node: bool


def hub_datasets(stage: StageSpec) -> list[HubDataset]:
    """Those that a stage names, in its order."""
    return [source.hugging_face for source in stage.data if source.hugging_face is not None]


def inside(identity: str) -> str:
    """Where on the run's volume a dataset lies."""
    return f"{DATASETS}/{identity[:32]}"


def take_datasets(
    place: Place,
    spec: TrainingRunSpec,
    stage: StageSpec,
    known: Sequence[DatasetStatus],
    observed: Observed,
    now: datetime,
    settings: Settings,
    *,
    hold: bool = False,
) -> tuple[Dataset, ...]:
    """The datasets of one stage, each as far as it is; `known` is what the status said.

    `hold`: it is no time to start a Job.
    """
    sources = {dataset_identity(source): source for source in hub_datasets(stage)}
    return tuple(
        _take(
            _work(place, spec, source, identity, settings),
            DatasetStatus(repo=source.repo, identity=identity, phase="Fetching"),
            next((old for old in known if (old.identity, old.phase) == (identity, "Ready")), None),
            observed.child("PersistentVolumeClaim", run_claim_name(place.owner.name)),
            observed,
            now,
            hold=hold,
        )
        for identity, source in sources.items()
    )


def _take(
    work: Work,
    status: DatasetStatus,
    old: DatasetStatus | None,
    volume: Manifest | None,
    observed: Observed,
    now: datetime,
    *,
    hold: bool,
) -> Dataset:
    if old is not None and volume is not None and all(ended(job) for job in jobs_of(work, observed)):
        return Dataset(old, work)
    since = str(volume["metadata"].get("creationTimestamp", "")) if volume is not None else ""
    standing = stand(work, observed, now, volume_since=since, hold=hold)
    if standing.state == "Failed":
        return Dataset(status.model_copy(update={"phase": "Failed"}), work, standing)
    result = standing.result
    if result is not None and result.dataset is not None:
        facts = {"phase": "Ready", "digest": result.dataset.digest, "bytes": result.dataset.bytes}
        if result.fetched is not None:
            facts["revision"] = result.fetched.commit
        return Dataset(status.model_copy(update=facts), work, standing)
    held = trouble(standing.pods, work.identity, observed, now)
    return Dataset(status, work, standing, shown(standing.pods, work.identity, observed, now), held)


def _work(place: Place, spec: TrainingRunSpec, source: HubDataset, identity: str, settings: Settings) -> Work:
    owner, storage = place.owner, spec.checkpoint.storage
    config = DatasetJob(
        identity=identity,
        owner=owner.path,
        credential=owner.public_key(settings.master_key),
        output=f"{OUTPUT}/{inside(identity)}",
        endpoint=source.endpoint.rstrip("/"),
        repo=source.repo,
        revision=source.revision,
        include=tuple(source.include),
        exclude=tuple(source.exclude),
        token_file=f"{TOKEN}/{TOKEN_FILE}" if source.token_secret_ref is not None else None,
        allowed_networks=settings.fetch_networks,
        storage_size=storage.size,
    )
    mounts = (
        # Never read: it is what makes the scheduler put the run's new volume where the stage can use both.
        Mount(INPUT, claim=place.beside, sub_path=place.sub_path),
        Mount(OUTPUT, claim=run_claim_name(owner.name), read_only=False),
        *hub_token(source.token_secret_ref),
    )

    def manifest(attempt: int) -> Manifest:
        return job(
            owner,
            work=FETCH,
            subject=SUBJECT,
            identity=identity,
            attempt=attempt,
            container=job_container(config, mounts, spec.compute),
            image=Image(settings.runtime_image, settings.image_pull_policy),
            pods=spec.compute,
            storage=spec.checkpoint.storage,
            suspend=spec.suspend,
            reads=place.beside,
            one_node=place.one_node,
        )

    return Work(FETCH, SUBJECT, identity, manifest, adjust=(("spec", "suspend"),))
