"""DaemonSets: a pod on every node of a cache, which keeps a copy of one artifact there."""

from deepseek_runtime.wire.base import digest
from deepseek_runtime.wire.node_cache import CacheConfig
from deepseek_runtime.wire.paths import ARTIFACT, CACHE, CACHE_ENVIRONMENT, INPUT, READY_PATH

from deepseek_operator.api.deepseekmodel.cache import CacheSpec
from deepseek_operator.api.names import Label
from deepseek_operator.desired.labels import Manifest, Owner, digest_label
from deepseek_operator.desired.pod import Container, Image, Mount, pod_spec

CONTAINER = "cache"
COPY_SECONDS = 24 * 3600
"""How long a copy may take before its pod is started again, which goes on where it was."""

_REQUESTS = {"cpu": "50m", "memory": "128Mi"}
_GRACE_SECONDS = 10


def daemonset_name(model: str, subject: str, content: str) -> str:
    """`<model>-cache-<hash8>`: other content is kept by another."""
    return f"{model}-cache-{digest([subject, content])[:8]}"


def keeping(content: str) -> dict[str, str]:
    """Labels of every pod that keeps a copy of what has this digest, whichever model it is kept for."""
    return {Label.NAME: CONTAINER, Label.DIGEST: digest_label(content)}


def daemonset(owner: Owner, subject: str, claim: str, spec: CacheSpec, config: CacheConfig, image: Image) -> Manifest:
    """The pods that copy the artifact on `claim`. None is worth waiting for another, so all are replaced at once."""
    container = Container(
        name=CONTAINER,
        args=("cache",),
        environment={CACHE_ENVIRONMENT: config.to_json()},
        mounts=(Mount(INPUT, claim=claim, sub_path=ARTIFACT), Mount(CACHE, claim=spec.claim_name, read_only=False)),
        requests=_REQUESTS,
        grace_seconds=_GRACE_SECONDS,
        more={"startupProbe": _COPIED},
    )
    labels = owner.labels(CONTAINER, **{Label.SUBJECT: subject, Label.DIGEST: digest_label(config.digest)})
    selector = {Label.OWNER_UID: owner.uid, Label.SUBJECT: subject, **keeping(config.digest)}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": owner.metadata(daemonset_name(owner.name, subject, config.digest), labels),
        "spec": {
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": selector},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {
                "metadata": {"labels": labels},
                "spec": pod_spec(container, image, spec.pods, restart_policy="Always"),
            },
        },
    }


_COPIED: Manifest = {
    "httpGet": {"path": READY_PATH, "port": "status", "scheme": "HTTP"},
    "periodSeconds": 1,
    "failureThreshold": COPY_SECONDS,
    "successThreshold": 1,
    "timeoutSeconds": 2,
}
"""Asked until the copy is there, and never again: what is kept stays."""
