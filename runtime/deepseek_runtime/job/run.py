"""The frame around every Job: what was sealed is found again, and every end has its exit code and its result."""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from types import FrameType

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from deepseek_runtime.job.errors import ConfigurationError, JobError, UnknownArchitectureError
from deepseek_runtime.job.failures import Terminated, explain
from deepseek_runtime.job.place import exclusive, place, pod_index
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.job.status_server import StatusServer
from deepseek_runtime.weights import manifest, seal
from deepseek_runtime.wire.base import WireModel
from deepseek_runtime.wire.exit_codes import ExitCode
from deepseek_runtime.wire.job import JOB, VERSION, Beside, CompareJob, ExportJob, Job, QuantizeJob, TrainJob
from deepseek_runtime.wire.paths import IMAGE_ENVIRONMENT, STATUS_PORT, TERMINATION_LOG
from deepseek_runtime.wire.result import JobResult, encode

LOG = logging.getLogger("deepseek_runtime.job")

Work = Callable[[Job, Reporter], JobResult]

WORKS = {
    "build": "deepseek_runtime.models.scratch",
    "fetch": "deepseek_runtime.fetch.model",
    "dataset": "deepseek_runtime.fetch.dataset",
    "import": "deepseek_runtime.models.imported",
    "publish": "deepseek_runtime.models.publish",
    "quantize": "deepseek_runtime.quantize.model",
    "export": "deepseek_runtime.export.model",
    "evaluate": "deepseek_runtime.evaluate.perplexity",
    "compare": "deepseek_runtime.evaluate.comparison",
    "longcontext": "deepseek_runtime.evaluate.long_context",
    "task": "deepseek_runtime.evaluate.tasks.task",
    "benchmark": "deepseek_runtime.evaluate.benchmark",
    "train": "deepseek_runtime.train.stage",
    "sign": "deepseek_runtime.signing.artifact",
    "verify": "deepseek_runtime.signing.verification",
}
"""The module whose `run(job, reporter)` does the work and seals it.

Imported only when the input has proven to be what its digest promises: torch takes seconds, a tampered file none.
"""


def main(text: str, *, port: int = STATUS_PORT, termination_log: Path = Path(TERMINATION_LOG)) -> int:
    """Run the Job that a JSON document describes; returns the exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    logging.basicConfig(
        stream=sys.stdout, format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, force=True
    )
    try:
        job = parse(text)
    except ConfigurationError as error:
        result = JobResult(kind="unknown", identity="", outcome="failed", reason=error.reason, message=error.message)
        return _end(result, error.code, termination_log)
    result, code = run(job, port=port)
    return _end(result, code, termination_log)


def parse(text: str) -> Job:
    """The Job in a JSON document; ConfigurationError `NewerVersion` or `InvalidConfig`, which names unknown fields."""
    try:
        version = _Versioned.model_validate_json(text).version
        if version > VERSION:
            raise ConfigurationError(
                "NewerVersion",
                f"The Job is written in version {version}, this runtime reads up to {VERSION}. "
                "Use a runtime image as new as the operator.",
            )
        return JOB.validate_json(text, extra="forbid")
    except ValidationError as error:
        if unknown := [_field(item) for item in error.errors() if item["type"] == "extra_forbidden"]:
            raise ConfigurationError(
                "InvalidConfig",
                f"The Job's document has {', '.join(unknown[:5])}, which this runtime does not know and so cannot "
                "honour. Correct the name, or use a runtime image as new as the operator.",
            ) from error
        what = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'it'}: {item['msg']}" for item in error.errors()[:5])
        raise ConfigurationError("InvalidConfig", f"The Job's document is not valid: {what}.") from error


def _field(error: ErrorDetails) -> str:
    """Where it stands in the document; the first step is the kind."""
    return ".".join(map(str, error["loc"][1:]))


def run(job: Job, *, port: int = STATUS_PORT) -> tuple[JobResult, ExitCode]:
    """Do the work, or find it done; never raises."""
    directory = place(job)
    LOG.info("job started: kind=%s owner=%s identity=%s", job.kind, job.owner, job.identity)
    try:
        with StatusServer(job.identity, job.credential, port) as status, _writing(job, directory):
            result = seal.sealed(directory, job.identity)
            if result is None:
                for path, digest in _promised(job).items():
                    manifest.verify(Path(path), digest, status)
                work: Work = import_module(WORKS[job.kind]).run
                result = work(job, status)
    except (Exception, Terminated, KeyboardInterrupt) as error:  # noqa: BLE001 whatever ends the Job ends in its result
        failure = explain(error, directory)
        if type(failure) is JobError and failure is not error:
            traceback.print_exc(file=sys.stderr)
        result = JobResult(
            kind=job.kind,
            identity=job.identity,
            outcome="failed",
            reason=failure.reason,
            message=failure.message,
            refused=failure.refused if isinstance(failure, UnknownArchitectureError) else None,
            image=os.environ.get(IMAGE_ENVIRONMENT),
            started_at=seal.STARTED,
            finished_at=seal.now(),
        )
        return result, failure.code
    return result, ExitCode.DONE


def _promised(job: Job) -> dict[str, str]:
    """What the Job reads, with the digest of each; the input of a PublishJob is hashed as it is copied."""
    if isinstance(job, CompareJob):
        return {job.input: job.input_digest, job.base: job.base_digest}
    if isinstance(job, TrainJob):
        return {job.input: job.input_digest, **job.datasets}
    if isinstance(job, QuantizeJob) and job.pods > 1:
        return {}  # each pod verifies what it reads
    return {job.input: job.input_digest} if isinstance(job, QuantizeJob | ExportJob | Beside) else {}


def _writing(job: Job, directory: Path) -> AbstractContextManager[None]:
    """Of a Job with several pods only the first seals what they did; those that train write nothing else."""
    index = pod_index(job)
    return exclusive(directory, index=index) if index == 0 or isinstance(job, QuantizeJob) else nullcontext()


class _Versioned(WireModel):
    version: int = 1


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise Terminated


def _end(result: JobResult, code: ExitCode, termination_log: Path) -> int:
    if result.outcome == "succeeded":
        LOG.info("job done: kind=%s identity=%s cached=%s", result.kind, result.identity, str(result.cached).lower())
    else:
        LOG.error("job failed: reason=%s code=%d message=%s", result.reason, code, result.message)
    if termination_log.exists():  # the kubelet makes it; elsewhere there is nobody to read it
        termination_log.write_text(encode(result), "utf-8")
    return int(code)
