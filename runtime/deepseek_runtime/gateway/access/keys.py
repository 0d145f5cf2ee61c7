"""API keys: the ConfigMap that a key names, and whether the key is the one it was made for."""

import hmac
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deepseek_runtime.gateway.access.cache import FRESH_SECONDS, AnswerCache, Remembered
from deepseek_runtime.gateway.access.caller import Caller, service_account
from deepseek_runtime.gateway.access.names import is_label, is_subdomain
from deepseek_runtime.gateway.kube.client import KubernetesClient
from deepseek_runtime.gateway.openai.errors import ApiError, unauthenticated
from deepseek_runtime.wire import api_key

log = logging.getLogger(__name__)

_NO_HASH = "0" * 64
_RENEWED_SECONDS = 1.0
"""A key made anew under the same name works at once: a secret that does not match is looked up again this soon."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What the ConfigMap of a key says."""

    sha256: str
    service_account: str
    expires: datetime


class KeyAuthenticator:
    """Proves API keys, with one GET for each key in 30 s."""

    def __init__(self, client: KubernetesClient, stale_seconds: float, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._clock = clock
        self._cache: AnswerCache[tuple[str, str], StoredKey | None] = AnswerCache(
            lambda stored: stored is not None, stale_seconds
        )

    async def authenticate(self, presented: str) -> Caller:
        """The caller behind a key; errors: ApiError 401, UnreachableError."""
        key = api_key.parse(presented)
        if key is None or not is_label(key.namespace) or not is_label(key.name):
            raise unauthenticated("The API key is malformed: it must look like dsk.NAMESPACE.NAME.SECRET.")
        found = await self._stored(key.namespace, key.name, FRESH_SECONDS)
        if found.cached and found.value is not None and not hmac.compare_digest(key.sha256, found.value.sha256):
            found = await self._stored(key.namespace, key.name, _RENEWED_SECONDS)
        stored = found.value
        # Compared also with nothing: an unknown name must not answer faster than a wrong secret.
        matches = hmac.compare_digest(key.sha256, stored.sha256 if stored else _NO_HASH)
        if stored is None or not matches:
            raise _wrong_key()
        if self._clock() >= stored.expires:
            raise unauthenticated(
                f"The API key {key.namespace}/{key.name} expired at {stored.expires.isoformat()}; create a new one.",
                "api_key_expired",
            )
        return service_account(key.namespace, stored.service_account, f"{key.namespace}/{key.name}", stale=found.stale)

    async def _stored(self, namespace: str, name: str, fresh_seconds: float) -> Remembered[StoredKey | None]:
        async def ask() -> StoredKey | None:
            config_map = await self._client.config_map(namespace, name)
            return None if config_map is None else _read(config_map)

        return await self._cache.get((namespace, name), ask, fresh_seconds)


def _wrong_key() -> ApiError:
    return unauthenticated("Incorrect API key provided. It is unknown, was deleted, or its secret is wrong.")


def _read(config_map: dict[str, Any]) -> StoredKey | None:
    metadata, data = config_map["metadata"], config_map.get("data") or {}
    if (metadata.get("labels") or {}).get(api_key.LABEL) != "v1":
        return None
    try:
        expires = datetime.fromisoformat(data["expires"])
        stored = StoredKey(data["sha256"], data["serviceAccount"], expires)
    except (KeyError, ValueError) as error:
        log.warning("API key %s/%s is not usable: %r", metadata.get("namespace"), metadata.get("name"), error)
        return None
    if expires.tzinfo is None or not is_subdomain(stored.service_account) or not stored.sha256.isascii():
        log.warning(
            "API key %s/%s is not usable: a time zone is missing, or a name is wrong",
            metadata.get("namespace"),
            metadata.get("name"),
        )
        return None
    return stored
