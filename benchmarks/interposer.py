"""Stands between the operator and the API server, counts requests, and can make the connection a bad one."""

import asyncio
import json
import logging
import random
import ssl
from collections import Counter
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web

from tests.integration.control_plane import free_port

_HOP = {
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "transfer-encoding",
    "accept-encoding",
    "content-encoding",
}
_GONE = {
    "type": "ERROR",
    "object": {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired",
               "message": "too old resource version"},
}  # fmt: skip
_BUSY = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 429, "reason": "TooManyRequests",
         "message": "the server has received too many requests"}  # fmt: skip

logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # broken connections are what this is for


class Interposer:
    """A plain HTTP server on loopback before the API server; `kubeconfig` leads through it."""

    def __init__(self, behind: Path, directory: Path) -> None:
        config = yaml.safe_load(behind.read_text())
        cluster = config["clusters"][0]["cluster"]
        self._server = cluster["server"]
        self._tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self._port = free_port()
        config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self._port}"}
        self.kubeconfig = directory / "interposed.kubeconfig"
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(yaml.safe_dump(config))
        self.gone = False
        """Whether the API server seems to be gone: every connection is cut."""
        self.busy = 0.0
        """The share of requests, but watches, that are answered with 429."""
        self.by_second: Counter[int] = Counter()
        """Requests that arrived in each second of the event loop's time."""
        self._watches: set[asyncio.Queue[bytes]] = set()
        self._random = random.Random(7)

    async def __aenter__(self) -> "Interposer":
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=self._tls))
        app = web.Application(client_max_size=16 << 20)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        await self._session.close()
        await self._runner.cleanup()

    def cut(self) -> None:
        """End all watches without a word."""
        for watch in self._watches:
            watch.put_nowait(b"")

    def expire(self) -> None:
        """End all watches with 410 Gone."""
        for watch in self._watches:
            watch.put_nowait(json.dumps(_GONE).encode() + b"\n")
            watch.put_nowait(b"")

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        self.by_second[int(asyncio.get_running_loop().time())] += 1
        watch = request.query.get("watch") == "true"
        if self.gone:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError
        if not watch and self._random.random() < self.busy:
            return web.json_response(_BUSY, status=429, headers={"Retry-After": "1"})
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _HOP}
        async with self._session.request(
            request.method,
            self._server + str(request.rel_url),
            headers=headers,
            data=await request.read() or None,
            skip_auto_headers=("Accept-Encoding", "Content-Type"),
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer:
            if not watch:
                shown = {key: value for key, value in answer.headers.items() if key.lower() not in _HOP}
                return web.Response(status=answer.status, headers=shown, body=await answer.read())
            return await self._stream(request, answer)

    async def _stream(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json"})
        await response.prepare(request)
        lines: asyncio.Queue[bytes] = asyncio.Queue()
        self._watches.add(lines)
        reader = asyncio.create_task(_read(answer, lines))
        try:
            while chunk := await lines.get():
                await response.write(chunk)
        except ConnectionResetError:
            pass  # the operator has gone
        finally:
            reader.cancel()
            self._watches.discard(lines)
        return response


async def _read(answer: aiohttp.ClientResponse, lines: asyncio.Queue[bytes]) -> None:
    """Whole lines only, so that another one can be put between them; an empty one at the end."""
    rest = b""
    try:
        async for chunk in answer.content.iter_any():
            whole, newline, rest = (rest + chunk).rpartition(b"\n")
            if newline:
                lines.put_nowait(whole + newline)
    except aiohttp.ClientError:
        pass
    lines.put_nowait(b"")
