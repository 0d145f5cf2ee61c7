"""The fetch Job: plan, prove that the model can be used, make sure that it fits, fetch, seal."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from deepseek_runtime.fetch import admission, packed, sources, support
from deepseek_runtime.fetch.download import Download
from deepseek_runtime.fetch.ledger import CHUNK, Ledger, Plan
from deepseek_runtime.fetch.selection import Selection, check_names, select, trim
from deepseek_runtime.fetch.source import RemoteFile, Source
from deepseek_runtime.fetch.troubles import Patience, Retries, TransientError
from deepseek_runtime.job import space
from deepseek_runtime.job.place import place
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.signing import verification
from deepseek_runtime.weights import facts, manifest, safety, seal, shapes
from deepseek_runtime.wire.base import digest
from deepseek_runtime.wire.job import DatasetJob, FetchJob
from deepseek_runtime.wire.progress import Trouble
from deepseek_runtime.wire.result import Fetched, JobResult

LOG = logging.getLogger(__name__)

PATIENCE = Patience()
_NAMED = 12
"""So many of the files that are left out are named."""


def run(job: FetchJob, reporter: Reporter, patience: Patience = PATIENCE) -> JobResult:
    """Fetch and seal. Errors: JobError that says what is wrong and what to do; what is finished stays on the volume.

    What the source has, and how large it is, is known before anything else is fetched than the index of the weights.
    """

    def choose(files: Sequence[RemoteFile]) -> Selection:
        if any(file.packed for file in files):
            check_names(files, source.where)
            return Selection(tuple(files), ())
        return select(files, job.include, job.exclude, source.where)

    with sources.of(job) as source, Ledger(place(job), job.identity) as ledger:
        plan = ledger.plan or planned(source, choose, patience, ledger, reporter)
        LOG.info("plan: source=%s revision=%s files=%d", source.name, plan.commit, len(plan.files))

        def fetch(files: Sequence[RemoteFile], of: Sequence[RemoteFile]) -> dict[str, str]:
            check_space(job, source, of, ledger)
            return Download(source, plan, ledger, patience).run(files, reporter, of)

        selection = Selection(plan.files, plan.left_out)
        hashes: dict[str, str] = {}
        if any(file.packed for file in plan.files):
            whole = fetch(plan.files, plan.files)
            selection, hashes = packed.unpack(
                source, whole, plan.files, ledger.files, lambda size: demand_space(job, source, size, 0, ledger.files)
            )
            admission.check(ledger.files, job.allow, weight_bytes(selection.files))
        else:
            if not job.include:
                index = [file for file in plan.files if file.path == safety.INDEX]
                hashes |= fetch(index, index)
                selection = trim(selection, support.shards(ledger.files))
            small = [file for file in selection.files if not file.path.endswith(".safetensors")]
            hashes |= fetch(small, selection.files)
            admission.check(ledger.files, job.allow, weight_bytes(selection.files))
            hashes |= fetch(selection.files, selection.files)
        written = manifest.record(ledger.files, hashes)
        shapes.check(ledger.files, safety.check(ledger.files))
        verified = verification.check(ledger.files, written, job.verification) if job.verification else None
        result = JobResult(
            kind=job.kind,
            identity=job.identity,
            outcome="succeeded",
            artifact=facts.artifact(ledger.files, written),
            fetched=told(plan.commit, selection),
            verification=verified,
        )
        sealed = seal.seal(place(job), job.identity, result)
        ledger.remove()
    return sealed


def weight_bytes(files: Sequence[RemoteFile]) -> int:
    """Of the files that weights are in."""
    return sum(file.size for file in files if file.path.endswith(".safetensors"))


Choose = Callable[[Sequence[RemoteFile]], Selection]
"""Which of a source's files are wanted."""


def planned(source: Source, choose: Choose, patience: Patience, ledger: Ledger, reporter: Reporter) -> Plan:
    """The revision and its files, asked for once and then kept in the ledger."""

    def report(trouble: TransientError) -> None:
        shown = Trouble(reason=trouble.reason, message=trouble.message)
        reporter.update("asking the source", unit="files", done=0, total=0, trouble=shown)

    reporter.update("asking the source", unit="files", done=0, total=0)
    listing = source.listing(Retries(patience, report))
    selection = choose(listing.files)
    revision = listing.revision or digest([file.model_dump(exclude_none=True) for file in selection.files])
    plan = Plan(commit=revision, files=selection.files, left_out=selection.left_out, chunk=CHUNK)
    ledger.begin(plan)
    return plan


def told(revision: str, selection: Selection) -> Fetched:
    """What came and what was left, for the result."""
    return Fetched(
        commit=revision,
        files=len(selection.files),
        bytes=sum(file.size for file in selection.files),
        left_out=tuple(path[:100] for path in selection.left_out[:_NAMED]),
        left_out_files=len(selection.left_out),
    )


def check_space(job: FetchJob | DatasetJob, source: Source, files: Sequence[RemoteFile], ledger: Ledger) -> None:
    """ConfigurationError `StorageTooSmall` where what is still missing does not fit the volume."""
    demand_space(job, source, sum(file.size for file in files), ledger.kept(files), ledger.files)


def demand_space(job: FetchJob | DatasetJob, source: Source, total: int, kept: int, directory: Path) -> None:
    """As `space.demand`, by the field that this Job's volume is asked for by."""
    field = "storage.size" if isinstance(job, FetchJob) else "checkpoint.storage.size"
    space.demand(directory, source.name, total, kept=kept, size=job.storage_size, field=field)
