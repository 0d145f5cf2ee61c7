"""How a store is opened: with the keys of a Secret, with the identity that a cloud gave the pod, or as anybody."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from obstore.store import AzureStore, GCSStore, S3Store

from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.wire.job import ObjectStoreSource

Store = S3Store | GCSStore | AzureStore

_KEYS: Mapping[str, tuple[tuple[Mapping[str, str], Mapping[str, str]], ...]] = {
    "s3": (
        ({"accessKeyId": "access_key_id", "secretAccessKey": "secret_access_key"}, {"sessionToken": "session_token"}),
    ),
    "gs": (({"serviceAccount.json": "service_account_key"}, {}),),
    "az": (({"accountKey": "account_key"}, {}), ({"sasToken": "sas_key"}, {})),
}
"""By scheme, each way in: keys of the Secret that must be there and that may be, and the library's names for them."""

_IDENTITY = {"s3": "AWS_WEB_IDENTITY_TOKEN_FILE", "gs": None, "az": "AZURE_FEDERATED_TOKEN_FILE"}
"""The variable by which a cloud tells a pod that it has an identity. Google's is at a link-local address alone, which
no fetch may ask."""

_LONGEST = 64 << 10


@dataclass(frozen=True, slots=True)
class Access:
    """The settings that let in, never shown; `how` says for messages what they are. `secret`: they come from a Secret
    or from the pod's identity."""

    how: str
    secret: bool
    settings: Mapping[str, Any] = field(repr=False)


def read_access(wanted: ObjectStoreSource) -> Access:
    """Errors: ConfigurationError `SecretMissing` where the Secret has not the keys that the scheme needs."""
    scheme = urlsplit(wanted.url).scheme
    if scheme not in _KEYS:
        raise ConfigurationError("InvalidConfig", f"{wanted.url} is no s3://, gs:// or az:// URL.")
    if wanted.credentials is None:
        variable = _IDENTITY[scheme]
        if variable is not None and os.environ.get(variable):
            return Access("the pod's cloud identity", secret=True, settings={})
        return Access("nobody's name (credentialsSecretRef is absent)", secret=False, settings={"skip_signature": True})
    directory = Path(wanted.credentials)
    for needed, optional in _KEYS[scheme]:
        if all((directory / key).is_file() for key in needed):
            found = {name: _read(directory / key) for key, name in needed.items()}
            found |= {name: _read(directory / key) for key, name in optional.items() if (directory / key).is_file()}
            return Access("the Secret of credentialsSecretRef", secret=True, settings=found)
    ways = " or ".join(" and ".join(needed) for needed, _ in _KEYS[scheme])
    raise ConfigurationError(
        "SecretMissing", f"The Secret that credentialsSecretRef names needs the keys {ways} for {wanted.url}."
    )


def open_store(wanted: ObjectStoreSource, access: Access, options: Mapping[str, Any]) -> Store:
    """The library's store for a URL. It asks once: waiting and asking again is ours."""
    parts = urlsplit(wanted.url)
    common: dict[str, Any] = {
        "prefix": parts.path.strip("/") or None,
        "client_options": dict(options),
        "retry_config": {"max_retries": 0},
        **access.settings,
    }
    if parts.scheme == "s3":
        if wanted.endpoint is not None:
            common["endpoint"] = wanted.endpoint
        return S3Store(parts.netloc, region=wanted.region or "us-east-1", **common)
    if parts.scheme == "gs":
        if wanted.endpoint is not None:
            common["base_url"] = wanted.endpoint
        return GCSStore(parts.netloc, **common)
    return AzureStore(parts.netloc, account_name=account(wanted), endpoint=wanted.endpoint, **common)


def account(wanted: ObjectStoreSource) -> str:
    """The account of an Azure endpoint: the first part of its host, https://<account>.blob.core.windows.net."""
    host = urlsplit(wanted.endpoint or "").hostname or ""
    name, _, rest = host.partition(".")
    if not name or not rest:
        raise ConfigurationError(
            "InvalidConfig",
            "An az:// URL needs source.objectStore.endpoint: https://<account>.blob.core.windows.net.",
        )
    return name


def _read(path: Path) -> str:
    try:
        with path.open("r", encoding="utf-8") as file:
            text = file.read(_LONGEST).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "SecretMissing", f"The key {path.name} of the Secret cannot be read, or is no text. Check the Secret."
        ) from error
    if not text:
        raise ConfigurationError("SecretMissing", f"The key {path.name} of the Secret is empty. Check the Secret.")
    return text
