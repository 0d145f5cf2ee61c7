"""The base of every resource model, and the pieces that all three share."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel


class ApiModel(BaseModel):
    """camelCase in YAML. Unknown fields are ignored when a live object is read: an old operator survives a newer CRD."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="ignore", frozen=True
    )

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Itself, for it never changes: pydantic copies every default of a field for every model that lacks it."""
        return self

    def to_object(self) -> dict[str, Any]:
        """As it stands in a Kubernetes object: camelCase, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """CEL rules with the sentence that a refusal shows, as a schema extension."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


Name = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
ShortName = Annotated[str, Field(min_length=1, max_length=20, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Quantity = Annotated[
    str,
    Field(
        max_length=24,
        pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi)?$",
        coerce_numbers_to_str=True,
        json_schema_extra={"x-kubernetes-int-or-string": True, "minimum": 0},  # the pattern is for strings only
        description="For example 500m, 2, 8Gi.",
    ),
]
SubPath = Annotated[
    str,
    Field(
        max_length=512,
        pattern=r"^[^/\x00][^\x00]*$",
        json_schema_extra=rules(("!self.split('/').exists(part, part == '..')", "path must not contain '..'")),
    ),
]
Figure = Annotated[float, PlainSerializer(lambda value: round(value, 4), return_type=float)]
"""A measured number: four decimals are more than anybody reads, and a column stays narrow."""
FineFigure = Annotated[float, PlainSerializer(lambda value: round(value, 6), return_type=float)]
"""A measured number that is often below a thousandth."""
StringMap = Annotated[dict[str, Annotated[str, Field(max_length=253)]], Field(max_length=32)]


class ClaimData(ApiModel):
    """A file or directory on a PersistentVolumeClaim of this namespace, mounted read-only."""

    claim_name: str = Field(min_length=1, max_length=253, description="The PersistentVolumeClaim.")
    path: SubPath | None = Field(
        default=None,
        description="A file, or a directory whose *.txt files (*.jsonl for sft) are read in the order of their names. Absent: the whole volume.",
    )


class ConfigMapData(ApiModel):
    """A ConfigMap of this namespace; every key is a text file."""

    name: str = Field(min_length=1, max_length=253, description="The ConfigMap.")
    key: str | None = Field(
        default=None, min_length=1, max_length=253, description="One key. Absent: all, in the order of their names."
    )


class DataSource(ApiModel):
    """Where text comes from: exactly one of the fields."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.claim) != has(self.configMap)", "exactly one of claim and configMap must be given")
        )
    )
    claim: ClaimData | None = Field(default=None, description="A file or directory on a PersistentVolumeClaim.")
    config_map: ConfigMapData | None = Field(default=None, description="A ConfigMap.")


class Resources(ApiModel):
    """What one pod asks for. Requests default to limits."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) || quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) <= 0)",
                "a request must not exceed its limit",
            ),
        )
    )
    requests: dict[str, Quantity] = Field(
        default={}, max_length=16, description="What the scheduler reserves: cpu, memory, nvidia.com/gpu, …"
    )
    limits: dict[str, Quantity] = Field(default={}, max_length=16, description="What the pod may use at most.")


class Toleration(ApiModel):
    """A taint that the pod puts up with; see `kubectl explain pod.spec.tolerations`."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.key) || self.operator == 'Exists'", "a toleration without a key needs the operator Exists"),
            ("!has(self.value) || self.operator == 'Equal'", "a toleration with the operator Exists has no value"),
            (
                "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
                "tolerationSeconds needs the effect NoExecute",
            ),
        )
    )
    key: str | None = Field(default=None, max_length=253, description="The taint's key. Absent: every taint.")
    operator: Literal["Exists", "Equal"] = Field(default="Equal", description="How the taint's value is compared.")
    value: str | None = Field(default=None, max_length=63, description="The taint's value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Absent: every effect."
    )
    toleration_seconds: int | None = Field(default=None, ge=0, description="How long a NoExecute taint is put up with.")


class PodSettings(ApiModel):
    """What may be said of pods. There is no free pod template: who may create a resource must not thereby gain a Secret, a ServiceAccount or a host path."""

    resources: Resources = Field(default=Resources(), description="CPU, memory and devices of one pod.")
    node_selector: StringMap = Field(default={}, description="Labels that the node must have.")
    tolerations: list[Toleration] = Field(default=[], max_length=16, description="Taints that the pods put up with.")
    priority_class_name: str | None = Field(
        default=None, max_length=253, description="Scheduling priority of the pods."
    )
    runtime_class_name: str | None = Field(
        default=None, max_length=253, description="Container runtime, for example nvidia."
    )
    image_pull_secrets: list[Annotated[str, Field(min_length=1, max_length=253)]] = Field(
        default=[],
        max_length=8,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="Names of Secrets of this namespace that the kubelet pulls images with.",
    )


class Storage(ApiModel):
    """One volume for each sealed artifact."""

    size: Quantity = Field(
        default="10Gi",
        description="Size of each volume. Volumes with nothing sealed on them grow when it is raised, and so do those on which work has failed.",
    )
    storage_class_name: str | None = Field(
        default=None,
        max_length=253,
        description="Absent: the cluster's default class. A claim that has its volume keeps class and access modes.",
    )
    access_modes: list[Literal["ReadWriteOnce", "ReadWriteMany"]] = Field(
        default=["ReadWriteOnce"],
        min_length=1,
        max_length=2,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="With ReadWriteOnce all users of an artifact run on one node.",
    )


class StatusCondition(ApiModel):
    """A condition as in `metav1.Condition`."""

    type: str = Field(max_length=316, description="What is said something about.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it is so.")
    reason: str = Field(max_length=1024, description="Why, as one stable word for programs.")
    message: str = Field(default="", max_length=32768, description="Why, and what to do, as a sentence for people.")
    last_transition_time: str = Field(description="When the status last changed, RFC 3339.")
    observed_generation: int | None = Field(default=None, description="The generation that this condition speaks of.")


class LastFailure(ApiModel):
    """The last thing that went wrong below this resource, with its remedy. It stays until the work it concerns succeeds."""

    component: str = Field(description="The child it happened to, for example Job/base-build-1f3a9c02-0.")
    reason: str = Field(
        description="ImagePullFailed, Unschedulable, DeviceMissing, QuotaExceeded, OutOfMemory, DiskFull, VolumeMissing, DigestMismatch, …"
    )
    message: str = Field(max_length=4096, description="What happened, and what to do.")
    exit_code: int | None = Field(default=None, description="Of the container, where one ended.")
    pod: str | None = Field(default=None, description="The pod, for `kubectl logs`.")
    time: str = Field(description="When, RFC 3339.")


class ProgressStatus(ApiModel):
    """Live figures of the work going on, at most 15 s old; gone when it is done."""

    work: str = Field(description="What is being done, for example quantize int8.")
    phase: str = Field(description="The step of it.")
    percent: int = Field(ge=0, le=100, description="How much of it is done.")
    remaining: str | None = Field(default=None, description="Time left, for example 3m20s.")
    tokens_per_second: Figure | None = Field(default=None, description="Speed, where tokens are what is worked on.")
    bytes: str | None = Field(
        default=None, description="Bytes done and to do, where bytes are what is worked on: 1.2 GiB of 8.9 GiB."
    )
    speed: str | None = Field(default=None, description="Of a download, for example 85.2 MiB/s.")
    loss: Figure | None = Field(default=None, description="Training loss of the last step.")


class CommonStatus(ApiModel):
    """What all three statuses have. -1: nobody has looked yet, so a fresh object is never taken for ready."""

    observed_generation: int = Field(default=-1, description="The generation that this status speaks of.")
    conditions: list[StatusCondition] = Field(
        default=[],
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        description="Ready is the summary; Reconciling and Stalled are there only when true.",
    )
    last_failure: LastFailure | None = Field(default=None, description="The last failure of a child, with its remedy.")
    progress: ProgressStatus | None = Field(default=None, description="The work going on.")
