"""The one shape of every pod: one container that meets the restricted Pod Security profile."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from deepseek_runtime.wire.job import data_path
from deepseek_runtime.wire.paths import IMAGE_ENVIRONMENT, SCRATCH, STATUS_PORT, TOKEN, TOKEN_FILE

from deepseek_operator.api.base import DataSource, PodSettings
from deepseek_operator.api.deepseekmodel.source import SecretKey
from deepseek_operator.api.names import Label
from deepseek_operator.desired.labels import Manifest, volume_label
from deepseek_operator.desired.quantity import cores

USER = 65532
"""The `nonroot` user of the images; numeric, so that the kubelet can tell it is not root."""

_SHARED_MEMORY_MIB = 64
_NODE = "kubernetes.io/hostname"


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume in the container: a claim, a ConfigMap (whole, or one key), or one key of a Secret as a file."""

    path: str
    claim: str | None = None
    config_map: str | None = None
    secret: str | None = None
    key: str | None = None
    file: str | None = None
    """What the key's file is called; None: as the key."""
    sub_path: str | None = None
    read_only: bool = True


@dataclass(frozen=True, slots=True)
class Image:
    """The runtime image, and when it is pulled."""

    name: str
    pull_policy: str = "IfNotPresent"


@dataclass(frozen=True, slots=True)
class Container:
    """What is particular to one kind of pod."""

    name: str
    args: tuple[str, ...]
    environment: dict[str, str]
    mounts: tuple[Mount, ...]
    processes: int = 1
    requests: dict[str, str] = field(default_factory=dict)
    """Where the user says neither request nor limit."""
    grace_seconds: int = 30
    ports: tuple[tuple[str, int], ...] = (("status", STATUS_PORT),)
    more: Manifest = field(default_factory=dict)
    """Probes and the like."""


def data_mounts(sources: Sequence[DataSource]) -> tuple[Mount, ...]:
    """One mount for each data source, at /data/<index>."""
    mounts = []
    for index, source in enumerate(sources):
        if source.claim is not None:
            mounts.append(Mount(data_path(index), claim=source.claim.claim_name))
        elif source.config_map is not None:
            mounts.append(Mount(data_path(index), config_map=source.config_map.name, key=source.config_map.key))
    return tuple(mounts)


def data_paths(sources: Sequence[DataSource]) -> tuple[str, ...]:
    """Where the Job finds the data: files or directories."""
    paths = []
    for index, source in enumerate(sources):
        inside = source.claim.path if source.claim else source.config_map.key if source.config_map else None
        paths.append(data_path(index, inside or ""))
    return tuple(paths)


def hub_token(secret: SecretKey | None) -> tuple[Mount, ...]:
    """The one key of the Secret, as a file."""
    return () if secret is None else (Mount(TOKEN, secret=secret.name, key=secret.key, file=TOKEN_FILE),)


def pod_spec(
    container: Container,
    image: Image,
    settings: PodSettings,
    *,
    restart_policy: str,
    shares: Sequence[str] = (),
    near: dict[str, str] | None = None,
) -> Manifest:
    """The spec of a pod. `shares` are ReadWriteOnce claims, its label's first: their pods must run on one node.

    `near` are labels of pods, of any owner, whose nodes are preferred.
    """
    spec: Manifest = {
        "restartPolicy": restart_policy,
        "terminationGracePeriodSeconds": container.grace_seconds,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(container, image, settings)],
        "volumes": _volumes(container),
    }
    if settings.node_selector:
        spec["nodeSelector"] = dict(settings.node_selector)
    if settings.tolerations:
        spec["tolerations"] = [toleration.to_object() for toleration in settings.tolerations]
    if settings.priority_class_name is not None:
        spec["priorityClassName"] = settings.priority_class_name
    if settings.runtime_class_name is not None:
        spec["runtimeClassName"] = settings.runtime_class_name
    if settings.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    affinity: Manifest = {}
    if shares:
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = [_same_node(shares)]
    if near is not None:
        term = {"labelSelector": {"matchLabels": dict(near)}, "topologyKey": _NODE}
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = [{"weight": 100, "podAffinityTerm": term}]
    if affinity:
        spec["affinity"] = {"podAffinity": affinity}
    return spec


def threads(settings: PodSettings, processes: int) -> int:
    """Threads for each process: the pod's CPUs shared out, at least one."""
    resources = settings.resources
    cpu = resources.limits.get("cpu") or resources.requests.get("cpu") or "1"
    return max(1, int(cores(cpu) / Decimal(processes)))


def sharing_labels(claim: str) -> dict[str, str]:
    """The label that pods which read a claim find each other by."""
    return {Label.VOLUME: volume_label(claim)}


def _same_node(claims: Sequence[str]) -> Manifest:
    """The first such pod goes anywhere: the scheduler lets a pod that matches its own term start the group.

    With several claims the term is met beside any of their pods, for no node could hold claims of two.
    """
    selector: Manifest = {"matchLabels": sharing_labels(claims[0])}
    if len(claims) > 1:
        hashes = [volume_label(claim) for claim in claims]
        selector = {"matchExpressions": [{"key": Label.VOLUME, "operator": "In", "values": hashes}]}
    return {"labelSelector": selector, "topologyKey": _NODE}


def _container(container: Container, image: Image, settings: PodSettings) -> Manifest:
    environment = {"HOME": SCRATCH, "USER": "deepseek", IMAGE_ENVIRONMENT: image.name, **container.environment}
    return {
        "name": container.name,
        "image": image.name,
        "imagePullPolicy": image.pull_policy,
        "args": list(container.args),
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in container.ports],
        "resources": _resources(settings, container.requests),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": _volume_mounts(container),
        **container.more,
    }


def _resources(settings: PodSettings, defaults: dict[str, str]) -> Manifest:
    requests, limits = dict(settings.resources.requests), dict(settings.resources.limits)
    wanted = {**defaults, **limits, **requests}
    return {"requests": wanted, **({"limits": limits} if limits else {})}


def _volume_name(mount: Mount, names: dict[tuple[str | None, ...], str]) -> str:
    key = (mount.claim, mount.config_map, mount.secret, mount.key)
    return names.setdefault(key, f"volume-{len(names)}")


def _volume_mounts(container: Container) -> list[Manifest]:
    names: dict[tuple[str | None, ...], str] = {}
    mounts: list[Manifest] = [
        {"name": "scratch", "mountPath": SCRATCH},
        {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108 a memory volume of the pod
    ]
    for mount in container.mounts:
        built: Manifest = {"name": _volume_name(mount, names), "mountPath": mount.path, "readOnly": mount.read_only}
        if mount.sub_path is not None:
            built["subPath"] = mount.sub_path
        mounts.append(built)
    return mounts


def _volumes(container: Container) -> list[Manifest]:
    names: dict[tuple[str | None, ...], str] = {}
    written = {mount.claim for mount in container.mounts if not mount.read_only}
    shared = _SHARED_MEMORY_MIB * (1 if container.processes == 1 else 2 * container.processes)
    volumes: dict[str, Manifest] = {
        "scratch": {"name": "scratch", "emptyDir": {}},
        "shared-memory": {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": f"{shared}Mi"}},
    }
    for mount in container.mounts:
        name = _volume_name(mount, names)
        if mount.claim is not None:
            source: Manifest = {"claimName": mount.claim, "readOnly": mount.claim not in written}
            volumes[name] = {"name": name, "persistentVolumeClaim": source}
            continue
        items = {} if mount.key is None else {"items": [{"key": mount.key, "path": mount.file or mount.key}]}
        if mount.secret is not None:
            volumes[name] = {"name": name, "secret": {"secretName": mount.secret, "defaultMode": 0o440, **items}}
        else:
            volumes[name] = {"name": name, "configMap": {"name": mount.config_map, "defaultMode": 0o444, **items}}
    return list(volumes.values())
