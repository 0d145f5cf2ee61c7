"""The API over HTTP: dicts in, dicts out, one session, few retries.

Patience beyond a few seconds belongs to the work queue, which has a backoff for each key.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import aiohttp
import orjson

from deepseek_operator.api.names import FIELD_MANAGER
from deepseek_operator.controllers.decision import Object, Ref
from deepseek_operator.engine import errors
from deepseek_operator.engine.kinds import CORE_EVENT, KINDS, Kind

ATTEMPTS = 4
TIMEOUT = aiohttp.ClientTimeout(total=15, sock_connect=5)
PAGE = 500
_JSON = "application/json"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_RETRIED = frozenset({429, 500, 502, 503, 504})
_LONGEST_DELAY = 5.0


class Client:
    """`api.Api` over HTTP. `on_request(method, code)` is told of every answer; code 0 where none came."""

    def __init__(
        self, session: aiohttp.ClientSession, server: str, on_request: Callable[[str, int], None] = lambda *_: None
    ) -> None:
        self._session = session
        self._server = server.rstrip("/")
        self._on_request = on_request
        self.verbs: set[tuple[str, str, str]] = set()
        """Every (verb, group, resource) asked for, in RBAC's words: what the chart's rules must allow."""

    async def get(self, ref: Ref) -> Object:
        """The live object."""
        kind = KINDS[ref.kind]
        return await self._request("get", kind, ref.namespace, ref.name)

    async def create(self, obj: Object) -> Object:
        """POST."""
        ref = Ref.of(obj)
        kind = KINDS[ref.kind]
        return await self._request("create", kind, ref.namespace, body=obj, params={"fieldManager": FIELD_MANAGER})

    async def apply(self, obj: Object, *, force: bool, subresource: str = "") -> Object:
        """Server-side apply under the operator's name."""
        ref = Ref.of(obj)
        params = {"fieldManager": FIELD_MANAGER, "force": "true" if force else "false"}
        return await self._request(
            "patch", KINDS[ref.kind], ref.namespace, ref.name, subresource, obj, params, "application/apply-patch+yaml"
        )

    async def patch(self, ref: Ref, patch: dict[str, Any]) -> Object:
        """JSON merge patch."""
        params = {"fieldManager": FIELD_MANAGER}
        return await self._request(
            "patch", KINDS[ref.kind], ref.namespace, ref.name, "", patch, params, "application/merge-patch+json"
        )

    async def delete(self, ref: Ref, uid: str) -> None:
        """Delete in the background, with the UID as a precondition."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        await self._request("delete", KINDS[ref.kind], ref.namespace, ref.name, body=body)

    async def list_metadata(self, kind: Kind, namespace: str) -> Sequence[Object]:
        """All pages of a list: who is there, in which version, held by whom."""
        params = {"labelSelector": kind.selector} if kind.selector else {}
        pages = self._pages(kind, namespace, params, _METADATA_LIST)
        return [{"metadata": _identity(item["metadata"])} async for item in pages]

    async def warnings(self, namespace: str, uid: str | None = None) -> AsyncIterator[Object]:
        """Warning events that concern one UID, or all of the namespace: the server reads all of them anyhow."""
        selector = "type=Warning" if uid is None else f"involvedObject.uid={uid},type=Warning"
        async for event in self._pages(CORE_EVENT, namespace, {"fieldSelector": selector}):
            yield event

    async def serves(self, kind: Kind) -> bool:
        """Whether the server knows the kind: for a custom one, whether its definition is installed."""
        try:
            answer = await self._send("GET", f"{self._server}/apis/{kind.api_version}")
        except errors.NotFoundError:
            return False
        return any(resource["name"] == kind.plural for resource in answer["resources"])

    async def _pages(
        self, kind: Kind, namespace: str, params: dict[str, str], accept: str = _JSON
    ) -> AsyncIterator[Object]:
        """The items of a list, page by page."""
        following: str | None = ""
        while following is not None:
            asked = {**params, "limit": str(PAGE), **({"continue": following} if following else {})}
            page = await self._request("list", kind, namespace, params=asked, accept=accept)
            for item in page["items"] or ():
                yield item
            following = page["metadata"].get("continue") or None

    async def _request(
        self,
        verb: str,
        kind: Kind,
        namespace: str,
        name: str = "",
        subresource: str = "",
        body: Object | None = None,
        params: dict[str, str] | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> Object:
        self.verbs.add((verb, kind.group, "/".join(part for part in (kind.plural, subresource) if part)))
        method = {"list": "GET", "create": "POST"}.get(verb, verb.upper())
        url = self._server + kind.path(namespace, name, subresource)
        data = None if body is None else orjson.dumps(body)
        return await self._send(method, url, params, data, {"Accept": accept, "Content-Type": content_type})

    async def _send(
        self,
        method: str,
        url: str,
        params: dict[str, str] | None = None,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Object:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._once(method, url, params, data, headers)
            except errors.ApiError as error:
                if attempt == ATTEMPTS or error.status not in _RETRIED | {0}:
                    raise
                delay = (
                    error.retry_after if error.retry_after is not None else 0.1 * 2**attempt * random.uniform(0.5, 1)
                )
                if delay > _LONGEST_DELAY:
                    raise
            await asyncio.sleep(delay)
        raise AssertionError("the last attempt returns or raises")

    async def _once(
        self, method: str, url: str, params: dict[str, str] | None, data: bytes | None, headers: dict[str, str] | None
    ) -> Object:
        try:
            async with self._session.request(
                method, url, params=params, data=data, headers=headers, timeout=TIMEOUT, allow_redirects=False
            ) as response:
                self._on_request(method, response.status)
                text = await response.read()
                if response.status < 300:
                    return _parsed(text)
                raise errors.from_status(response.status, _status(text), _retry_after(response))
        except (aiohttp.ClientError, TimeoutError) as error:
            self._on_request(method, 0)
            raise errors.ApiError(0, "NoAnswer", f"{method} {url}: {type(error).__name__} {error}") from error


def _identity(meta: Object) -> Object:
    """What is kept of the metadata in a list of ten thousand."""
    return {key: meta[key] for key in ("namespace", "name", "uid", "resourceVersion", "finalizers") if key in meta}


def _parsed(text: bytes) -> Object:
    """An answer. What somebody has nested too deep for the fast reader is read by the slow one."""
    try:
        answer: Object = orjson.loads(text)
    except orjson.JSONDecodeError:
        answer = json.loads(text)
    return answer


def _status(text: bytes) -> Object:
    try:
        body = orjson.loads(text)
    except ValueError:
        body = None
    return body if isinstance(body, dict) else {"message": text[:200].decode(errors="replace")}


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None
