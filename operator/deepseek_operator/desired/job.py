"""Jobs: one for each attempt at a piece of work, created once and never changed."""

from deepseek_runtime.wire.base import digest
from deepseek_runtime.wire.exit_codes import ExitCode
from deepseek_runtime.wire.job import Job, TrainJob
from deepseek_runtime.wire.paths import JOB_ENVIRONMENT, RENDEZVOUS_PORT

from deepseek_operator.api.base import PodSettings, Storage
from deepseek_operator.api.names import Annotation
from deepseek_operator.desired.headless import headless_name
from deepseek_operator.desired.labels import Manifest, Owner, work_labels
from deepseek_operator.desired.pod import Container, Image, Mount, pod_spec, sharing_labels, threads

CONTAINER = "job"

_REQUESTS = {"cpu": "250m", "memory": "512Mi"}
_CHECKPOINT_SECONDS = 120
"""How long a training pod that is told to stop may write its checkpoint."""

_LABEL = 63
"""Letters in the value of a label."""


def job_name(owner: str, work: str, subject: str, identity: str, attempt: int) -> str:
    """`<owner>-<work>-<hash8>-<attempt>`; two parts of one owner may do the same work, so the part is in the hash.

    The tenth attempt at the longest work of the longest owner is named by less of it: pods have the name as a label.
    """
    rest = f"-{work}-{digest([subject, identity])[:8]}-{attempt}"
    return f"{owner[: _LABEL - len(rest)].rstrip('-')}{rest}"


def rendezvous(owner: Owner, job: str) -> str:
    """Where the first pod of a Job waits for the others; another attempt's has another name."""
    return f"{job}-0.{headless_name(owner)}:{RENDEZVOUS_PORT}"


def job_container(config: Job, mounts: tuple[Mount, ...], pods: PodSettings) -> Container:
    """The container of a Job: its configuration is one document in the environment."""
    training = isinstance(config, TrainJob)
    processes = config.processes if isinstance(config, TrainJob) else 1
    environment = {JOB_ENVIRONMENT: config.to_json(), "OMP_NUM_THREADS": str(threads(pods, processes))}
    if training:
        environment["OMP_WAIT_POLICY"] = "passive"  # waiting threads leave the cores to the other processes
    return Container(
        name=CONTAINER,
        args=("job",),
        environment=environment,
        mounts=mounts,
        processes=processes,
        requests=_REQUESTS,
        grace_seconds=_CHECKPOINT_SECONDS if training else 30,
    )


def job(
    owner: Owner,
    *,
    work: str,
    subject: str,
    identity: str,
    attempt: int,
    container: Container,
    image: Image,
    pods: PodSettings,
    storage: Storage,
    backoff_limit: int = 3,
    suspend: bool | None = None,
    reads: str | None = None,
    beside: str | None = None,
    one_node: bool = True,
    count: int = 1,
    neighbours: bool = False,
) -> Manifest:
    """The Job of one attempt. `reads` is the claim of the artifact that it reads; `one_node`: it is ReadWriteOnce.

    `storage` is that of the volume it writes: with more room it is another Job.

    `beside` is the claim of another artifact that it reads as well.

    A `count` of several is pods with an index each; `neighbours` have a host name, too, in the owner's headless
    Service.
    """
    labels = owner.labels(work, **work_labels(work, subject, identity))
    shares = [claim for claim in (reads, beside) if claim is not None] if one_node else ()
    pod = pod_spec(container, image, pods, restart_policy="Never", shares=shares)
    if neighbours:
        pod["subdomain"] = headless_name(owner)
    template = {
        "metadata": {
            "labels": {**labels, **(sharing_labels(reads) if reads else {})},
            "annotations": {Annotation.STORAGE_SIZE: storage.size},
        },
        "spec": pod,
    }
    metadata = owner.metadata(job_name(owner.name, work, subject, identity, attempt), labels)
    metadata["annotations"] = {Annotation.ATTEMPT: str(attempt), Annotation.TEMPLATE_HASH: digest(template)}
    spec: Manifest = {
        "parallelism": count,
        "completions": count,
        "backoffLimit": backoff_limit,
        "podReplacementPolicy": "Failed",  # never two writers on one volume
        "podFailurePolicy": _FAILURE_POLICY,
        "template": template,
    }
    if count > 1:
        spec["completionMode"] = "Indexed"
    if suspend is not None:
        spec["suspend"] = suspend
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _on_exit(action: str, *codes: ExitCode) -> Manifest:
    values = [int(code) for code in codes]
    return {"action": action, "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": values}}


_FAILURE_POLICY: Manifest = {
    "rules": [
        _on_exit("FailJob", ExitCode.CONFIGURATION, ExitCode.DATA),
        _on_exit("Ignore", ExitCode.INTERRUPTED),
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
}
"""The same input fails again, so those two end the Job; a pod that was told to go does not count against it."""
