"""Kubernetes tokens, proven by TokenReview: only those that were issued for this gateway."""

import hashlib
import re
from typing import Any

from deepseek_runtime.gateway.access.cache import AnswerCache
from deepseek_runtime.gateway.access.caller import Caller
from deepseek_runtime.gateway.kube.client import KubernetesClient
from deepseek_runtime.gateway.openai.errors import unauthenticated

AUDIENCE = "deepseek-gateway"
"""A token for the API server itself must not be shown around: `kubectl create token SA --audience deepseek-gateway`."""

_JWT = re.compile(r"[\w-]{1,4096}\.[\w-]{1,8192}\.[\w-]{1,4096}")


def looks_like_one(presented: str) -> bool:
    """Whether it has the form of a JSON Web Token: nothing else is worth a question to the API server."""
    return _JWT.fullmatch(presented) is not None


class TokenAuthenticator:
    """Proves tokens, with one TokenReview for each in 30 s. Tokens are remembered by their hash only."""

    def __init__(self, client: KubernetesClient, stale_seconds: float) -> None:
        self._client = client
        self._cache: AnswerCache[bytes, Caller | None] = AnswerCache(lambda caller: caller is not None, stale_seconds)

    async def authenticate(self, token: str) -> Caller:
        """The caller behind a token; errors: ApiError 401, UnreachableError."""

        async def ask() -> Caller | None:
            spec = {"token": token, "audiences": [AUDIENCE]}
            return _caller(await self._client.review("authentication.k8s.io", "tokenreviews", "TokenReview", spec))

        found = await self._cache.get(hashlib.sha256(token.encode()).digest(), ask)
        caller = found.value
        if caller is None:
            raise unauthenticated(
                f"The token is not valid here: it has expired, is unknown, or is not for audience {AUDIENCE!r}.",
                "invalid_token",
            )
        return Caller(caller.user, caller.groups, caller.uid, caller.extra, stale=found.stale)


def _caller(status: dict[str, Any]) -> Caller | None:
    # An authenticator that knows nothing of audiences leaves them empty: its tokens are for the API server.
    if status.get("authenticated") is not True or AUDIENCE not in (status.get("audiences") or []):
        return None
    user = status.get("user") or {}
    if not user.get("username"):
        return None
    return Caller(
        user=user["username"],
        groups=tuple(user.get("groups") or ()),
        uid=user.get("uid") or "",
        extra=tuple((name, tuple(values)) for name, values in sorted((user.get("extra") or {}).items())),
    )
