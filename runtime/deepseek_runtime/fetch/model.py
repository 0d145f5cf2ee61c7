"""The fetch Job: plan, prove that the model can be used, make sure that it fits, fetch, seal."""

import ipaddress
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from deepseek_runtime.fetch import admission, support
from deepseek_runtime.fetch.download import Download
from deepseek_runtime.fetch.hub import Hub, HubFile
from deepseek_runtime.fetch.ledger import CHUNK, Ledger, Plan
from deepseek_runtime.fetch.selection import Selection, select, trim
from deepseek_runtime.fetch.transport import Transport
from deepseek_runtime.fetch.troubles import Patience, Retries, TransientError
from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.job.place import place
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.signing import verification
from deepseek_runtime.weights import facts, manifest, safety, seal, shapes
from deepseek_runtime.wire.job import DatasetJob, FetchJob
from deepseek_runtime.wire.progress import Trouble
from deepseek_runtime.wire.result import Fetched, JobResult

LOG = logging.getLogger(__name__)

PATIENCE = Patience()
SPARE = 64 << 20
"""Bytes that are left free on the volume: journals, results, evaluations."""
_NAMED = 12
"""So many of the files that are left out are named."""


def run(job: FetchJob, reporter: Reporter, patience: Patience = PATIENCE) -> JobResult:
    """Fetch and seal. Errors: JobError that says what is wrong and what to do; what is finished stays on the volume."""
    token = token_of(job)
    endpoint = job.endpoint.rstrip("/")
    hub = Hub(endpoint, job.repo, job.revision, token_given=token is not None)
    allowed = tuple(ipaddress.ip_network(network) for network in job.allowed_networks)

    def transport() -> Transport:
        return Transport(endpoint, token, allowed)

    with Ledger(place(job), job.identity) as ledger:
        plan = ledger.plan or planned(
            hub, lambda files: select(files, job.include, job.exclude), transport(), patience, ledger, reporter
        )
        LOG.info("plan: repo=%s commit=%s files=%d", job.repo, plan.commit, len(plan.files))
        small = [file for file in plan.files if not file.path.endswith(".safetensors")]
        check_space(job, small, ledger)
        hashes = Download(hub, plan, ledger, transport, patience).run(small, reporter)
        admission.check(ledger.files, job.allow)
        selection = Selection(plan.files, plan.left_out)
        if not job.include:
            selection = trim(selection, support.shards(ledger.files))
        check_space(job, selection.files, ledger)
        hashes |= Download(hub, plan, ledger, transport, patience).run(selection.files, reporter)
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


Choose = Callable[[Sequence[HubFile]], Selection]
"""Which of a repository's files are wanted."""


def planned(
    hub: Hub, choose: Choose, transport: Transport, patience: Patience, ledger: Ledger, reporter: Reporter
) -> Plan:
    """The commit and its files, asked for once and then kept in the ledger."""

    def report(trouble: TransientError) -> None:
        shown = Trouble(reason=trouble.reason, message=trouble.message)
        reporter.update("asking the hub", unit="files", done=0, total=0, trouble=shown)

    reporter.update("asking the hub", unit="files", done=0, total=0)
    retries = Retries(patience, report)
    try:
        commit = hub.commit(transport, retries)
        selection = choose(hub.files(transport, retries, commit))
    finally:
        transport.close()
    plan = Plan(commit=commit, files=selection.files, left_out=selection.left_out, chunk=CHUNK)
    ledger.begin(plan)
    return plan


def told(commit: str, selection: Selection) -> Fetched:
    """What came and what was left, for the result."""
    return Fetched(
        commit=commit,
        files=len(selection.files),
        bytes=sum(file.size for file in selection.files),
        left_out=tuple(path[:100] for path in selection.left_out[:_NAMED]),
        left_out_files=len(selection.left_out),
    )


def token_of(job: FetchJob | DatasetJob) -> str | None:
    """The token in the mounted file; ConfigurationError `SecretMissing` where there should be one and is none."""
    if job.token_file is None:
        return None
    try:
        token = Path(job.token_file).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "SecretMissing", "The key that tokenSecretRef names cannot be read, or is no token. Check the Secret."
        ) from error
    if not token or not token.isprintable() or " " in token:
        raise ConfigurationError("SecretMissing", "The key that tokenSecretRef names holds no token. Check the Secret.")
    return token


def check_space(job: FetchJob | DatasetJob, files: Sequence[HubFile], ledger: Ledger) -> None:
    """ConfigurationError `StorageTooSmall` where what is still missing does not fit the volume."""
    plan = ledger.plan
    wanted, finished = set(files), 0
    for index, file in enumerate(plan.files if plan else ()):
        if file in wanted:
            chunk = plan.chunk if plan else 0
            finished += min(file.size, len(ledger.finished.get(index, ())) * chunk)
    total, free = sum(file.size for file in files), shutil.disk_usage(ledger.files).free
    needed = total - finished + SPARE
    field = "storage.size" if isinstance(job, FetchJob) else "checkpoint.storage.size"
    if needed > free:
        raise ConfigurationError(
            "StorageTooSmall",
            f"{job.repo} has {total:,} bytes to fetch, {finished:,} of them are on the volume; {needed:,} bytes are "
            f"needed and {free:,} are available. Raise {field}"
            + (f", which is {job.storage_size}." if job.storage_size else "."),
        )
