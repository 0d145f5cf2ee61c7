"""A small client: five verbs, the pod's own service account."""

import ssl
from collections.abc import AsyncGenerator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from deepseek_runtime.gateway.files import MountedFile

_ANSWER_SECONDS = 5.0
_WATCH_SECONDS = 240


class KubernetesError(Exception):
    """The API server answered, and refused; `status` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class UnreachableError(Exception):
    """The API server gave no answer that says anything: no connection, time out, or an error of its own."""


class KubernetesClient:
    """One session for the life of the process; use with `async with`."""

    def __init__(self, url: str, token_file: Path, ca_file: Path | None) -> None:
        self._url = url
        self._token = MountedFile(token_file)
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        tls: ssl.SSLContext | bool = ssl.create_default_context(cafile=self._ca_file) if self._ca_file else True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=64),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "deepseek-gateway"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def config_map(self, namespace: str, name: str) -> dict[str, Any] | None:
        """One ConfigMap, or None; errors: KubernetesError, UnreachableError. The names must be valid ones."""
        try:
            return await self._request("GET", f"/api/v1/namespaces/{namespace}/configmaps/{name}")
        except KubernetesError as error:
            if error.status == 404:
                return None
            raise

    async def list_config_maps(self, namespace: str, selector: str) -> dict[str, Any]:
        """The list; errors: KubernetesError, UnreachableError."""
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        return await self._request("GET", path, {"labelSelector": selector})

    async def watch_config_maps(self, namespace: str, selector: str, since: str) -> AsyncGenerator[dict[str, Any]]:
        """Watch events until the server ends the watch; errors: KubernetesError, UnreachableError."""
        query = {
            "labelSelector": selector,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": since,
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_ANSWER_SECONDS, sock_read=_WATCH_SECONDS + 30)
        try:
            async with self._open("GET", f"/api/v1/namespaces/{namespace}/configmaps", query, None, timeout) as answer:
                await self._check(answer)
                partial = b""
                async for chunk in answer.content.iter_any():
                    *lines, partial = (partial + chunk).split(b"\n")
                    for line in lines:
                        yield orjson.loads(line)
        except (aiohttp.ClientError, OSError, TimeoutError, orjson.JSONDecodeError) as error:
            raise UnreachableError(f"watch: {type(error).__name__}: {error}") from error

    async def review(self, group: str, resource: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
        """Create a review object and return its status; errors: KubernetesError, UnreachableError."""
        body = {"apiVersion": f"{group}/v1", "kind": kind, "spec": spec}
        answer = await self._request("POST", f"/apis/{group}/v1/{resource}", body=body)
        status = answer.get("status")
        return status if isinstance(status, dict) else {}

    async def _request(
        self, method: str, path: str, query: dict[str, str] | None = None, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
        try:
            async with self._open(method, path, query, body, timeout) as answer:
                await self._check(answer)
                document = orjson.loads(await answer.read())
        except (aiohttp.ClientError, OSError, TimeoutError, orjson.JSONDecodeError) as error:
            raise UnreachableError(f"{method} {path}: {type(error).__name__}: {error}") from error
        if not isinstance(document, dict):
            raise UnreachableError(f"{method} {path}: the answer is not an object")
        return document

    def _open(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None,
        body: dict[str, Any] | None,
        timeout: aiohttp.ClientTimeout,
    ) -> "aiohttp.client._RequestContextManager":
        if self._session is None:
            raise RuntimeError("KubernetesClient is used outside of `async with`")
        return self._session.request(
            method,
            self._url + path,
            params=query,
            data=None if body is None else orjson.dumps(body),
            headers={
                "Authorization": f"Bearer {self._token.read().decode().strip()}",
                "Accept": "application/json",
                "Content-Type": "application/json",
            },
            timeout=timeout,
            allow_redirects=False,
        )

    async def _check(self, answer: aiohttp.ClientResponse) -> None:
        if answer.status < 300:
            return
        text = (await answer.content.read(4096)).decode(errors="replace")
        # 401 and 429 as well: they say nothing about what was asked, only about the gateway's own standing now.
        if answer.status >= 500 or answer.status in {401, 429}:
            raise UnreachableError(f"{answer.method} {answer.url.path}: {answer.status}")
        raise KubernetesError(answer.status, text[:512])
