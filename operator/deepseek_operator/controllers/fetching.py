"""The Job that fetches a base from outside: what it is told of its source, and where its credentials are mounted."""

from deepseek_runtime.wire import job as wire
from deepseek_runtime.wire.paths import TOKEN, TOKEN_FILE

from deepseek_operator.api.deepseekmodel.source import ModelSource
from deepseek_operator.controllers.source_http import described
from deepseek_operator.desired.pod import Mount, hub_token

PULL_SECRET = ".dockerconfigjson"  # noqa: S105 a key's name
"""The key of a Secret of the type kubernetes.io/dockerconfigjson."""


def fetch(source: ModelSource, job: wire.FetchJob) -> tuple[wire.FetchJob, tuple[Mount, ...]]:
    """The Job with its source, which is one that lies outside, and the mounts of what only its pod may read."""
    if (hub := source.hugging_face) is not None:
        asked = {
            "endpoint": hub.endpoint.rstrip("/"),
            "repo": hub.repo,
            "revision": hub.revision,
            "include": tuple(hub.include),
            "exclude": tuple(hub.exclude),
            "token_file": f"{TOKEN}/{TOKEN_FILE}" if hub.token_secret_ref is not None else None,
        }
        return job.model_copy(update=asked), hub_token(hub.token_secret_ref)
    if (store := source.object_store) is not None:
        keys = store.credentials_secret_ref
        objects = wire.ObjectStoreSource(
            url=store.url.rstrip("/"),
            endpoint=store.endpoint.rstrip("/") if store.endpoint is not None else None,
            region=store.region,
            credentials=TOKEN if keys is not None else None,
        )
        mounts = (Mount(TOKEN, secret=keys.name),) if keys is not None else ()
        return job.model_copy(update={"object_store": objects}), mounts
    if (http := source.http) is not None:
        return job.model_copy(update={"http": described(http), "include": ("*",)}), ()
    if (oci := source.oci) is not None:
        password = oci.pull_secret_ref
        image = wire.OciSource(
            reference=oci.reference,
            plain_http=oci.plain_http,
            pull_secret=f"{TOKEN}/{PULL_SECRET}" if password is not None else None,
        )
        mounts = (Mount(TOKEN, secret=password.name, key=PULL_SECRET),) if password is not None else ()
        return job.model_copy(update={"oci": image}), mounts
    raise ValueError("no source outside of the cluster")
