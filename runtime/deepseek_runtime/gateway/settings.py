"""What the administrator sets, from the environment; README.md lists every name."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deepseek_runtime.wire.paths import GATEWAY_PORT, STATUS_PORT

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class SettingsError(ValueError):
    """A setting is missing or cannot be read; the message names it."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens. Port 0: any free one."""

    host: str
    port: int


@dataclass(frozen=True)
class Settings:
    """Seconds for times, bytes for sizes."""

    namespace: str
    replica: str
    kubernetes_url: str
    kubernetes_token_file: Path
    kubernetes_ca_file: Path | None  # None: plain HTTP
    listen: Address = Address("0.0.0.0", GATEWAY_PORT)  # noqa: S104 a pod's own network
    metrics_listen: Address = Address("0.0.0.0", STATUS_PORT)  # noqa: S104
    master_key_file: Path = Path("/etc/deepseek/master/key")
    audit_directory: Path = Path("/audit")
    audit_segment_bytes: int = 16 * 1024 * 1024
    max_body_bytes: int = 1024 * 1024
    stale_allow_seconds: float = 300
    connect_timeout_seconds: float = 5
    idle_timeout_seconds: float = 120
    request_timeout_seconds: float = 600
    shutdown_delay_seconds: float = 3
    drain_seconds: float = 45
    log_level: str = "INFO"

    @property
    def replica_directory(self) -> Path:
        """This replica's own log and hash chain."""
        return self.audit_directory / self.replica


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Read and check all settings; errors: SettingsError."""
    env = os.environ if environment is None else environment
    url = env.get("GATEWAY_KUBERNETES_URL") or _in_cluster_url(env)
    ca_file = Path(env.get("GATEWAY_KUBERNETES_CA_FILE", str(_SERVICE_ACCOUNT / "ca.crt")))
    replica = _required(env, "POD_NAME")
    if "/" in replica or replica in {".", ".."}:
        raise SettingsError(f"POD_NAME={replica!r} names a directory: it must be one path component.")
    return Settings(
        namespace=_required(env, "POD_NAMESPACE"),
        replica=replica,
        kubernetes_url=url.rstrip("/"),
        kubernetes_token_file=Path(env.get("GATEWAY_KUBERNETES_TOKEN_FILE", str(_SERVICE_ACCOUNT / "token"))),
        kubernetes_ca_file=ca_file if url.startswith("https://") else None,
        listen=_address(env, "GATEWAY_LISTEN", Settings.listen),
        metrics_listen=_address(env, "GATEWAY_METRICS_LISTEN", Settings.metrics_listen),
        master_key_file=Path(env.get("GATEWAY_MASTER_KEY_FILE", str(Settings.master_key_file))),
        audit_directory=Path(env.get("GATEWAY_AUDIT_DIRECTORY", str(Settings.audit_directory))),
        audit_segment_bytes=int(_number(env, "GATEWAY_AUDIT_SEGMENT_BYTES", Settings.audit_segment_bytes, least=4096)),
        max_body_bytes=int(_number(env, "GATEWAY_MAX_BODY_BYTES", Settings.max_body_bytes, least=1024)),
        stale_allow_seconds=_number(env, "GATEWAY_STALE_ALLOW_SECONDS", Settings.stale_allow_seconds),
        connect_timeout_seconds=_number(
            env, "GATEWAY_CONNECT_TIMEOUT_SECONDS", Settings.connect_timeout_seconds, least=0.1
        ),
        idle_timeout_seconds=_number(env, "GATEWAY_IDLE_TIMEOUT_SECONDS", Settings.idle_timeout_seconds, least=0.1),
        request_timeout_seconds=_number(
            env, "GATEWAY_REQUEST_TIMEOUT_SECONDS", Settings.request_timeout_seconds, least=0.1
        ),
        shutdown_delay_seconds=_number(env, "GATEWAY_SHUTDOWN_DELAY_SECONDS", Settings.shutdown_delay_seconds),
        drain_seconds=_number(env, "GATEWAY_DRAIN_SECONDS", Settings.drain_seconds),
        log_level=_level(env),
    )


def _required(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set; the chart sets it from the pod's metadata.")
    return value


def _in_cluster_url(env: Mapping[str, str]) -> str:
    host = env.get("KUBERNETES_SERVICE_HOST", "")
    if not host:
        raise SettingsError("Not in a cluster: set GATEWAY_KUBERNETES_URL to the API server's address.")
    return f"https://{f'[{host}]' if ':' in host else host}:{env.get('KUBERNETES_SERVICE_PORT', '443')}"


def _address(env: Mapping[str, str], name: str, default: Address) -> Address:
    text = env.get(name)
    if not text:
        return default
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise SettingsError(f"{name}={text!r} is not HOST:PORT.")
    return Address(host.strip("[]"), int(port))


def _number(env: Mapping[str, str], name: str, default: float, least: float = 0) -> float:
    text = env.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise SettingsError(f"{name}={text!r} is not a number.") from None
    if not least <= value < float("inf"):
        raise SettingsError(f"{name}={text!r} must be {least} or more.")
    return value


def _level(env: Mapping[str, str]) -> str:
    level = env.get("GATEWAY_LOG_LEVEL", Settings.log_level).upper()
    if level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise SettingsError(f"GATEWAY_LOG_LEVEL={level!r} is not one of DEBUG, INFO, WARNING, ERROR.")
    return level
