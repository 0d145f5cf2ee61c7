"""One stage from its Job to its sealed export."""

import json
from contextlib import suppress
from pathlib import Path

from deepseek_runtime.job.errors import ConfigurationError, JobError
from deepseek_runtime.job.place import place, pod_index
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.train.supervisor import Sealed, supervise
from deepseek_runtime.weights import manifest, seal
from deepseek_runtime.wire.job import TrainJob
from deepseek_runtime.wire.paths import RESULT_FILE
from deepseek_runtime.wire.result import JobResult, Training


def run(job: TrainJob, reporter: Reporter) -> JobResult:
    """Train, export and seal below `job.output`: `checkpoints/<stage>/` on the way, `stages/<stage>/` in the end.

    Goes on from the newest checkpoint of the same work. Of several pods the first one seals; the others end when it
    has. Errors: ConfigurationError, DataError (also `Diverged`), OutOfMemoryError, InterruptedError after SIGTERM once
    a checkpoint is written.
    """
    started_at = seal.now()
    source = Path(job.input)
    manifest.verify(source, job.input_digest, reporter)
    _check(job, source)
    directory, index = place(job), pod_index(job)
    if index:
        return _follow(job, index, directory, reporter)
    export = seal.partial(directory, job.identity)
    outcome, artifact = supervise(job, export, reporter)
    training = Training(
        steps=outcome.steps,
        tokens=outcome.tokens,
        loss=outcome.loss,
        seconds=outcome.seconds,
        tokens_per_second=outcome.tokens / outcome.seconds,
        resumed_from_step=outcome.resumed_from_step,
        examples=outcome.examples,
    )
    result = JobResult(
        kind=job.kind,
        identity=job.identity,
        outcome="succeeded",
        artifact=artifact,
        training=training,
        started_at=started_at,
    )
    return seal.seal(directory, job.identity, result)


def _follow(job: TrainJob, index: int, directory: Path, reporter: Reporter) -> JobResult:
    """Train in a pod that is not the first."""
    with suppress(Sealed):
        supervise(job, directory, reporter, index, sealed=(directory / RESULT_FILE).exists)
    result = seal.sealed(directory, job.identity)
    if result is None:
        raise JobError("SealBroken", f"{directory / RESULT_FILE} was there and is gone.")
    return result


def _check(job: TrainJob, source: Path) -> None:
    settings = job.hyperparameters
    if (job.steps is None) == (job.epochs is None):
        raise ConfigurationError("InvalidConfig", "Exactly one of steps and epochs must be given.")
    processes = job.nodes * job.processes
    if settings.batch_size % processes:
        raise ConfigurationError(
            "InvalidConfig",
            f"batchSize {settings.batch_size} cannot be shared by {processes} processes. Make it a multiple.",
        )
    longest = json.loads((source / "config.json").read_text()).get("max_position_embeddings")
    if longest and settings.sequence_length > longest:
        raise ConfigurationError(
            "ContextTooLong",
            f"sequenceLength {settings.sequence_length} is more than the model's max_position_embeddings {longest}.",
        )
