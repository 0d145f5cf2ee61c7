"""The fetch of text from a dataset of a hub: plan, make sure that it fits, fetch, seal."""

import logging
from collections.abc import Sequence
from fnmatch import fnmatchcase

from deepseek_runtime.fetch import sources
from deepseek_runtime.fetch.download import Download
from deepseek_runtime.fetch.ledger import Ledger
from deepseek_runtime.fetch.model import PATIENCE, check_space, planned, told
from deepseek_runtime.fetch.selection import Selection, check_names
from deepseek_runtime.fetch.source import RemoteFile
from deepseek_runtime.fetch.troubles import Patience
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.job.place import place
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.weights import manifest, seal
from deepseek_runtime.wire.job import DatasetJob
from deepseek_runtime.wire.result import Dataset, JobResult

LOG = logging.getLogger(__name__)

NEEDED = ("*.txt", "*.jsonl")
"""What a stage reads, in whatever folder; a repository's other files are left there."""
_NAMED = 6


def run(job: DatasetJob, reporter: Reporter, patience: Patience = PATIENCE) -> JobResult:
    """Fetch and seal. Errors: JobError that says what is wrong and what to do; what is finished stays on the volume."""

    def choose(files: Sequence[RemoteFile]) -> Selection:
        return _select(files, job)

    with sources.of(job) as source, Ledger(place(job), job.identity) as ledger:
        plan = ledger.plan or planned(source, choose, patience, ledger, reporter)
        LOG.info("plan: dataset=%s commit=%s files=%d", job.repo, plan.commit, len(plan.files))
        check_space(job, source, plan.files, ledger)
        hashes = Download(source, plan, ledger, patience).run(plan.files, reporter, plan.files)
        written = manifest.record(ledger.files, hashes)
        result = JobResult(
            kind=job.kind,
            identity=job.identity,
            outcome="succeeded",
            dataset=Dataset(digest=written.digest, bytes=written.size, files=len(written.files)),
            fetched=told(plan.commit, Selection(plan.files, plan.left_out)),
        )
        sealed = seal.seal(place(job), job.identity, result)
        ledger.remove()
    return sealed


def _select(files: Sequence[RemoteFile], job: DatasetJob) -> Selection:
    """The text among a repository's files.

    Errors: DataError `MissingText` naming what is there instead, `UnsafeName`.
    """
    include = job.include or NEEDED
    chosen = tuple(
        file
        for file in files
        if any(fnmatchcase(file.path, pattern) for pattern in include)
        and any(fnmatchcase(file.path, pattern) for pattern in NEEDED)
        and not any(fnmatchcase(file.path, pattern) for pattern in job.exclude)
    )
    if not chosen:
        there = ", ".join(file.path for file in files[:_NAMED])
        raise DataError(
            "MissingText",
            f"No {' or '.join(NEEDED)} of dataset {job.repo} is among the files that huggingFace selects; it has "
            f"{there}. Name a dataset with plain text or JSON lines, or correct include and exclude.",
        )
    check_names(chosen, "huggingFace")
    return Selection(chosen, tuple(file.path for file in files if file not in chosen))
