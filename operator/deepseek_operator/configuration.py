"""What the process is told: arguments, each with an environment variable as its default."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from pydantic import ValidationError

from deepseek_operator.api.price_sheet import PriceSheet


@dataclass(frozen=True, slots=True)
class Configuration:
    """The chart sets all of these."""

    namespace: str | None
    watch_namespaces: tuple[str, ...]
    runtime_image: str
    image_pull_policy: str
    gateway_url: str
    cluster_domain: str
    network_policies: bool
    fetch_networks: tuple[str, ...]
    price_sheet: PriceSheet | None
    workers: int
    metrics_port: int
    health_port: int
    json_logs: bool
    log_level: str


def parse(arguments: Sequence[str] | None = None) -> Configuration:
    """From the command line; argparse ends the process with a usage message where it is wrong."""
    parser = argparse.ArgumentParser(prog="deepseek-operator", description="The DeepSeek operator.")

    def option(flag: str, default: str | int, text: str) -> None:
        variable = "DEEPSEEK_" + flag.removeprefix("--").replace("-", "_").upper()
        value = os.environ.get(variable, default)
        parser.add_argument(flag, default=value, type=type(default), help=f"{text} [{variable}]")

    option("--namespace", "", "namespace of the operator itself; default: the pod's or the kubeconfig's")
    option("--watch-namespaces", "", "namespaces to work in, separated by commas; default: all")
    option("--runtime-image", "deepseek-operator/runtime:dev", "image of the pods of models, runs and services")
    option("--image-pull-policy", "IfNotPresent", "when the kubelet pulls that image")
    option("--gateway-url", "", "URL of the gateway, as people see it; default: its Service")
    option("--cluster-domain", "cluster.local", "DNS domain of the cluster")
    option("--network-policies", "true", "NetworkPolicies for the pods of models, runs and services: true or false")
    option("--fetch-networks", "", "private networks (CIDR) that models may be fetched from, separated by commas")
    option("--price-sheet", "", "file of what GPUs and CPUs cost, read at the start; default: costs have no prices")
    option("--workers", 8, "resources worked on at the same time")
    option("--metrics-port", 8080, "port of /metrics")
    option("--health-port", 8081, "port of /healthz and /readyz")
    option("--log-format", "text", "text or json")
    option("--log-level", "INFO", "DEBUG, INFO, WARNING or ERROR")
    found = parser.parse_args(arguments)
    for name, allowed in (
        ("log_format", ("text", "json")),
        ("log_level", ("DEBUG", "INFO", "WARNING", "ERROR")),
        ("image_pull_policy", ("Always", "IfNotPresent", "Never")),
        ("network_policies", ("true", "false")),
    ):
        if getattr(found, name) not in allowed:
            parser.error(f"--{name.replace('_', '-')} must be one of {', '.join(allowed)}")
    if found.workers < 1:
        parser.error("--workers must be at least 1")
    try:
        networks = tuple(str(ip_network(part)) for part in _parts(found.fetch_networks))
    except ValueError as error:
        parser.error(f"--fetch-networks: {error}")
    try:
        prices = PriceSheet.model_validate_json(Path(found.price_sheet).read_bytes()) if found.price_sheet else None
    except (OSError, ValidationError) as error:
        parser.error(f"--price-sheet {found.price_sheet}: {error}")
    return Configuration(
        namespace=found.namespace or None,
        watch_namespaces=_parts(found.watch_namespaces),
        runtime_image=found.runtime_image,
        image_pull_policy=found.image_pull_policy,
        gateway_url=found.gateway_url,
        cluster_domain=found.cluster_domain,
        network_policies=found.network_policies == "true",
        fetch_networks=networks,
        price_sheet=prices,
        workers=found.workers,
        metrics_port=found.metrics_port,
        health_port=found.health_port,
        json_logs=found.log_format == "json",
        log_level=found.log_level,
    )


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
