"""A copy of a stage's export on a volume of its own, so that the run can go and the model stays."""

from pathlib import Path

from deepseek_runtime.job.errors import DataError
from deepseek_runtime.job.place import place
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.weights import facts, manifest, safety, seal
from deepseek_runtime.weights.copying import Copier
from deepseek_runtime.wire.job import PublishJob
from deepseek_runtime.wire.paths import MANIFEST_FILE
from deepseek_runtime.wire.result import JobResult


def run(job: PublishJob, reporter: Reporter) -> JobResult:
    """Copy and seal; every file is hashed on its way, so what is sealed is what was promised or nothing is."""
    source = Path(job.input)
    if not source.is_dir():
        raise DataError(
            "TrainingRunNotFound",
            f"Nothing is sealed on this volume, and the export of {job.source or 'its TrainingRun'} is not there to be "
            "copied. Run the TrainingRun again under its name, or give the model another source.",
        )
    promised = manifest.compare(source, job.input_digest)
    directory = seal.partial(place(job), job.identity)
    copier = Copier(reporter)
    for file in promised.files:
        with (source / file.path).open("rb") as reading:
            digest = copier.copy(reading, directory / file.path, promised.size)
        if digest != file.sha256:
            raise manifest.mismatch(source / file.path, "SHA-256", file.sha256, digest)
    (directory / MANIFEST_FILE).write_text(promised.to_json() + "\n", "utf-8")
    safety.check(directory)
    result = JobResult(
        kind=job.kind, identity=job.identity, outcome="succeeded", artifact=facts.artifact(directory, promised)
    )
    return seal.seal(place(job), job.identity, result)
