"""The chart's values: one model, from which `values.yaml` and `values.schema.json` are generated."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from deepseek_operator.api.price_sheet import EXAMPLE, PriceSheet

REGISTRY = "deepseek-operator"
Amount = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi)?$")] | int
Url = Annotated[str, Field(pattern=r"^(https?://[^/\s]+(/[^\s]*)?)?$")]


class Values(BaseModel):
    """A group of values. A value that the chart does not know is refused: it would be a typing error without effect."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid", frozen=True)


class Crds(Values):
    """The CustomResourceDefinitions."""

    install: bool = Field(default=True, description="Install and upgrade them with the chart.")
    keep: bool = Field(
        default=True,
        description="Leave them, and with them all models, runs and services, when the chart is uninstalled.",
    )


class Image(Values):
    """An image. A digest wins over a tag."""

    repository: str = Field(min_length=1, pattern=r"^[^\s@]+$", description="Registry and name.")
    tag: str = Field(default="", max_length=128, pattern=r"^[\w.-]*$", description="Empty: the chart's appVersion.")
    digest: str = Field(default="", pattern=r"^(sha256:[0-9a-f]{64})?$", description="sha256:…, to pin the image.")
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", description="When the kubelet pulls it."
    )


class ContainerResources(Values):
    """CPU and memory of a container."""

    requests: dict[str, Amount] = Field(default={}, description="What the scheduler reserves.")
    limits: dict[str, Amount] = Field(default={}, description="What it may use at most.")


class ServiceAccount(Values):
    """The ServiceAccount of the pods."""

    create: bool = Field(default=True, description="False: one that is there already is used.")
    name: str = Field(default="", max_length=253, description="Empty: the name of the workload.")
    annotations: dict[str, str] = Field(default={}, description="For cloud identities, say.")


class Workload(Values):
    """What operator and gateway have in common."""

    image: Image
    replicas: int = Field(default=1, ge=0, le=16, description="Pods.")
    service_account: ServiceAccount = Field(default=ServiceAccount(), description="The ServiceAccount of the pods.")
    pod_annotations: dict[str, str] = Field(default={}, description="Annotations of the pods.")
    pod_labels: dict[str, str] = Field(default={}, description="More labels of the pods.")
    node_selector: dict[str, str] = Field(default={}, description="Labels that the node must have.")
    tolerations: list[dict[str, Any]] = Field(default=[], description="Taints that the pods put up with.")
    affinity: dict[str, Any] = Field(
        default={}, description="Where the pods go; see `kubectl explain pod.spec.affinity`."
    )
    priority_class_name: str = Field(default="", max_length=253, description="Scheduling priority of the pods.")


class Log(Values):
    """What the controller writes to its log."""

    format: Literal["text", "json"] = Field(
        default="json", description="One line for each entry: for people, or for programs."
    )
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="The least that is shown.")


class Operator(Workload):
    """The controller."""

    image: Image = Field(default=Image(repository=f"{REGISTRY}/operator"), description="Its image.")
    replicas: int = Field(default=1, ge=0, le=16, description="One works at a time, the others wait for its lease.")
    resources: ContainerResources = Field(
        default=ContainerResources(requests={"cpu": "50m", "memory": "96Mi"}, limits={"memory": "512Mi"}),
        description="CPU and memory.",
    )
    log: Log = Field(default=Log(), description="Its log.")


class GatewayService(Values):
    """The gateway's Service."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(default="ClusterIP", description="Its type.")
    port: int = Field(default=80, ge=1, le=65535, description="Its port.")
    annotations: dict[str, str] = Field(default={}, description="For load balancers, say.")


class GatewayStorage(Values):
    """The claim of each replica: its audit log."""

    size: Amount = Field(default="1Gi", description="Of each claim.")
    storage_class_name: str = Field(default="", max_length=253, description="Empty: the cluster's default class.")


class Gateway(Workload):
    """The OpenAI-compatible URL before all services."""

    image: Image = Field(default=Image(repository=f"{REGISTRY}/gateway"), description="Its image.")
    resources: ContainerResources = Field(
        default=ContainerResources(requests={"cpu": "50m", "memory": "96Mi"}, limits={"memory": "512Mi"}),
        description="CPU and memory.",
    )
    url: Url = Field(
        default="",
        description="The URL that people use, shown in the status of services. Empty: the Service's own, inside the cluster.",
    )
    stale_allow_seconds: int = Field(
        default=300,
        ge=0,
        le=3600,
        description="How long an earlier permission holds while the API server cannot be asked; 0: not at all. Each use is marked in the audit log.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="The least that its log shows."
    )
    service: GatewayService = Field(default=GatewayService(), description="Its Service.")
    storage: GatewayStorage = Field(default=GatewayStorage(), description="The claim of each replica: its audit log.")


class Runtime(Values):
    """The pods of models, runs and services."""

    image: Image = Field(
        default=Image(repository=f"{REGISTRY}/runtime"),
        description="Their image. A finished result is never computed again because of a new one.",
    )


class Fetch(Values):
    """Jobs that fetch models from hubs."""

    allowed_networks: list[Annotated[str, Field(max_length=43, pattern=r"^[0-9a-fA-F.:]+/[0-9]{1,3}$")]] = Field(
        default=[],
        description="Private networks (CIDR) that they may connect to: those of mirrors inside. Public addresses are always allowed, link-local ones never. A token goes over http to these networks only.",
    )


class ServiceMonitor(Values):
    """A ServiceMonitor of the Prometheus operator."""

    enabled: bool = Field(default=False, description="Needs the CRDs of the Prometheus operator.")
    interval: str = Field(default="30s", pattern=r"^[0-9]+(ms|s|m)$", description="Between two scrapes.")
    labels: dict[str, str] = Field(default={}, description="Labels by which Prometheus selects it.")


class Metrics(Values):
    """Prometheus metrics of operator and gateway."""

    service_monitor: ServiceMonitor = Field(default=ServiceMonitor(), description="Scraped by the Prometheus operator.")


class NetworkPolicies(Values):
    """NetworkPolicies, where the cluster's network enforces them."""

    enabled: bool = Field(
        default=True,
        description="Pods of models, runs and services reach nothing, and only this release's namespace reaches them. Of operator and gateway only the ports that they offer can be reached; what they reach (the API server, DNS, engines of all tenants) cannot be named in the same words for every cluster and is not restricted. False: the operator removes those it made.",
    )


class ChartValues(Values):
    """Values of the chart deepseek-operator."""

    crds: Crds = Field(default=Crds(), description="The CustomResourceDefinitions.")
    image_pull_secrets: list[str] = Field(
        default=[], description="Names of Secrets of the release's namespace that operator and gateway are pulled with."
    )
    watch_namespaces: list[
        Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    ] = Field(
        default=[],
        description="Namespaces to work in; they must exist. Empty: all. With names, nothing of others can be read or changed.",
    )
    cluster_domain: str = Field(
        default="cluster.local", min_length=1, max_length=253, description="The DNS domain of the cluster's Services."
    )
    operator: Operator = Field(default=Operator(), description="The controller.")
    gateway: Gateway = Field(default=Gateway(), description="The OpenAI-compatible URL before all services.")
    runtime: Runtime = Field(default=Runtime(), description="The pods of models, runs and services.")
    fetch: Fetch = Field(default=Fetch(), description="Jobs that fetch models from hubs.")
    price_sheet: PriceSheet = Field(
        default=EXAMPLE,
        description="What GPUs and CPUs cost, for status.sizing and status.cost of models. The rows are examples with round figures, nobody's prices: replace them. The operator starts anew with a changed sheet; costs of before stay as they are.",
    )
    metrics: Metrics = Field(default=Metrics(), description="Prometheus metrics of operator and gateway.")
    network_policies: NetworkPolicies = Field(
        default=NetworkPolicies(), description="NetworkPolicies, where the cluster's network enforces them."
    )
    global_: dict[str, Any] = Field(
        default={}, alias="global", description="What a parent chart gives to all its parts; not used here."
    )


def schema() -> dict[str, Any]:
    """`values.schema.json`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **ChartValues.model_json_schema(by_alias=True)}
