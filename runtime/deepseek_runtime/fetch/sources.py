"""From what a Job names to the source that it is fetched from."""

import ipaddress
from pathlib import Path

from deepseek_runtime.fetch.http_files import HttpFiles
from deepseek_runtime.fetch.hub import Hub
from deepseek_runtime.fetch.oci import Oci
from deepseek_runtime.fetch.source import Source
from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.wire.job import DatasetJob, FetchJob


def of(job: FetchJob | DatasetJob) -> Source:
    """The source. Errors: ConfigurationError `SecretMissing`, `InvalidConfig`."""
    allowed = tuple(ipaddress.ip_network(network) for network in job.allowed_networks)
    if isinstance(job, DatasetJob):
        endpoint = job.endpoint.rstrip("/")
        return Hub(endpoint, job.repo, job.revision, _token(job.token_file), allowed, "datasets")
    if job.object_store is not None:
        from deepseek_runtime.fetch.object_store import ObjectStore  # a library that nothing else here needs

        return ObjectStore(job.object_store, allowed)
    if job.http is not None:
        return HttpFiles(job.http, allowed)
    if job.oci is not None:
        return Oci(job.oci, allowed)
    if job.repo is None or job.endpoint is None or job.revision is None:
        raise ConfigurationError("InvalidConfig", "The Job names no source that this runtime knows.")
    return Hub(job.endpoint.rstrip("/"), job.repo, job.revision, _token(job.token_file), allowed)


def _token(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        token = Path(path).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "SecretMissing", "The key that tokenSecretRef names cannot be read, or is no token. Check the Secret."
        ) from error
    if not token or not token.isprintable() or " " in token:
        raise ConfigurationError("SecretMissing", "The key that tokenSecretRef names holds no token. Check the Secret.")
    return token
