"""Deployments: the pods of an engine."""

from deepseek_runtime.wire.paths import ARTIFACT, CACHE, ENGINE_PORT, MODEL, SERVE_ENVIRONMENT, STATUS_PORT
from deepseek_runtime.wire.serve import ServeConfig

from deepseek_operator.api.inferenceservice import InferenceServiceSpec, ServedModel
from deepseek_operator.api.names import Annotation, Label
from deepseek_operator.desired.daemonset import keeping
from deepseek_operator.desired.labels import Manifest, Owner
from deepseek_operator.desired.pod import Container, Image, Mount, pod_spec, sharing_labels, threads

CONTAINER = "engine"
START_SECONDS = 1800
"""How long an engine may take to read its weights."""

_REQUESTS = {"cpu": "250m", "memory": "512Mi"}


def selector(owner: Owner) -> dict[str, str]:
    """Labels that the service's pods alone have; a Deployment's selector can never change."""
    return {Label.NAME: CONTAINER, Label.OWNER_UID: owner.uid}


def deployment(
    owner: Owner,
    spec: InferenceServiceSpec,
    serve: ServeConfig,
    served: ServedModel,
    claim: str,
    image: Image,
    *,
    one_node: bool,
    cache: str | None = None,
) -> Manifest:
    """New pods come up before old ones go. `one_node`: the claim is ReadWriteOnce, all its pods share a node.

    `cache` is the claim with the copies of nodes.
    """
    processes = serve.tensor_parallel
    container = Container(
        name=CONTAINER,
        args=("serve",),
        environment={
            SERVE_ENVIRONMENT: serve.to_json(),
            "OMP_NUM_THREADS": str(threads(spec.pods, processes)),
            "GOMP_SPINCOUNT": "5000",  # threads of two ranks that spin for long starve each other
        },
        mounts=(Mount(MODEL, claim=claim, sub_path=ARTIFACT), *((Mount(CACHE, claim=cache),) if cache else ())),
        processes=processes,
        requests=_REQUESTS,
        grace_seconds=60,
        ports=(("http", ENGINE_PORT), ("status", STATUS_PORT)),
        more=_PROBES,
    )
    shares = (claim,) if one_node else ()
    near = keeping(served.digest) if cache else None
    pod = pod_spec(container, image, spec.pods, restart_policy="Always", shares=shares, near=near)
    metadata = owner.metadata(owner.name, owner.labels(CONTAINER))
    metadata["annotations"] = {Annotation.SERVING: served.model_dump_json(by_alias=True, exclude_none=True)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": spec.replicas,
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": START_SECONDS + 60,
            "selector": {"matchLabels": selector(owner)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": {**owner.labels(CONTAINER), **sharing_labels(claim)}},
                "spec": pod,
            },
        },
    }


def _probe(path: str, period: int, failures: int, timeout: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": "http", "scheme": "HTTP"},
        "periodSeconds": period,
        "failureThreshold": failures,
        "successThreshold": 1,
        "timeoutSeconds": timeout,
    }


_PROBES: Manifest = {
    "startupProbe": _probe("/health/ready", 1, START_SECONDS, 2),
    "readinessProbe": _probe("/health/ready", 2, 2, 2),
    "livenessProbe": _probe("/health/live", 10, 6, 5),
    # Requests still arrive until every node has heard that the pod goes.
    "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
}
