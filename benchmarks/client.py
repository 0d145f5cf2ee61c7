"""The client that makes resources and sees what becomes of them: HTTP and JSON, nothing kept."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import yaml

Object = dict[str, Any]

MERGE = "application/merge-patch+json"


class Collection(NamedTuple):
    """Where a kind is served."""

    api_version: str
    plural: str

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of one object, of a namespace's, or of all."""
        root = "/apis/" if "/" in self.api_version else "/api/"
        middle = f"/namespaces/{namespace}" if namespace else ""
        return (
            root + self.api_version + middle + "".join(f"/{part}" for part in (self.plural, name, subresource) if part)
        )


class Client:
    """Requests as the user of a kubeconfig with a token."""

    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self._session = session
        self._server = server

    async def request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        kind: str = "application/json",
        params: dict[str, str] | None = None,
        accept: str = "application/json",
    ) -> Object:
        """The answer; raises RuntimeError with the refusal."""
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": kind, "Accept": accept}
        async with self._session.request(method, self._server + path, data=data, headers=headers, params=params) as got:
            text = await got.read()
            if got.status >= 300:
                raise RuntimeError(f"{method} {path}: {got.status} {text[:300].decode(errors='replace')}")
            answer: Object = json.loads(text)
            return answer

    async def create(self, where: Collection, obj: Object) -> Object:
        """POST."""
        return await self.request("POST", where.path(obj["metadata"].get("namespace", "")), obj)

    async def patch(self, where: Collection, namespace: str, name: str, patch: Object, subresource: str = "") -> Object:
        """JSON merge patch."""
        return await self.request("PATCH", where.path(namespace, name, subresource), patch, MERGE)

    async def get(self, where: Collection, namespace: str, name: str) -> Object:
        """One object."""
        return await self.request("GET", where.path(namespace, name))

    async def list(self, where: Collection, namespace: str = "") -> list[Object]:
        """All objects."""
        items: list[Object] = (await self.request("GET", where.path(namespace)))["items"]
        return items

    async def version(self, where: Collection, namespace: str = "") -> str:
        """The resource version of now, to watch from."""
        answer = await self.request("GET", where.path(namespace), params={"limit": "1"})
        version: str = answer["metadata"]["resourceVersion"]
        return version

    async def watch(self, where: Collection, namespace: str, version: str) -> AsyncIterator[tuple[str, Object]]:
        """Type and object of every change since a version, without end."""
        params = {"watch": "true", "resourceVersion": version}
        timeout = aiohttp.ClientTimeout(total=None)
        path = self._server + where.path(namespace)
        async with self._session.get(path, params=params, timeout=timeout) as stream:
            rest = b""
            async for chunk in stream.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    yield event["type"], event["object"]


@asynccontextmanager
async def connect(kubeconfig: Path) -> AsyncIterator[Client]:
    """A client with connections of its own."""
    config = yaml.safe_load(await asyncio.to_thread(kubeconfig.read_text))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
    headers = {"Authorization": f"Bearer {user['token']}"}
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=tls, keepalive_timeout=120), headers=headers, timeout=timeout
    ) as session:
        yield Client(session, cluster["server"])
