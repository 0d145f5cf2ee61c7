"""`keys create`: a new API key. The manifest holds its hash; the key itself is shown once and kept nowhere."""

import hashlib
import json
import re
from datetime import datetime, timedelta
from typing import Any

from deepseek_runtime.gateway.access.names import is_label, is_subdomain
from deepseek_runtime.wire import api_key

_DURATION = re.compile(r"([1-9][0-9]{0,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """90d, 12h, 30m or 60s; errors: ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 90d, 12h, 30m or 60s")
    return timedelta(**{_UNITS[match.group(2)]: int(match.group(1))})


def create(
    namespace: str, name: str, service_account: str, lifetime: timedelta, now: datetime
) -> tuple[str, dict[str, Any]]:
    """The key and the ConfigMap to apply; errors: ValueError."""
    if not is_label(namespace):
        raise ValueError(f"--namespace {namespace!r} is not a name of a namespace")
    if not is_label(name):
        raise ValueError(f"--name {name!r} must be lower-case letters, digits and '-', at most 63 of them")
    if not is_subdomain(service_account):
        raise ValueError(f"--service-account {service_account!r} is not a name of a ServiceAccount")
    key = api_key.generate(namespace, name)
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": {api_key.LABEL: "v1"}},
        "data": {
            "sha256": hashlib.sha256(key.encode()).hexdigest(),
            "serviceAccount": service_account,
            "expires": (now + lifetime).isoformat(timespec="seconds"),
        },
    }
    return key, manifest


def to_yaml(manifest: dict[str, Any], indent: str = "") -> str:
    """YAML of nested objects of strings; a quoted JSON string is one in YAML, too."""
    lines = []
    for name, value in manifest.items():
        if isinstance(value, dict):
            lines.append(f"{indent}{name}:\n{to_yaml(value, indent + '  ')}")
        else:
            lines.append(f"{indent}{name}: {json.dumps(value)}")
    return "\n".join(lines)
