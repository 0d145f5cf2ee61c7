"""A small server that speaks the hub's protocol, with the faults that a real one has. Also a program: see `main`."""

import argparse
import asyncio
import hashlib
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

PAGE = 3
"""Files on one page of the listing, so that every listing has several."""

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Fault:
    """What happens to one download: an error status, or a body that is cut, wrong, or whole where a part is wanted."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    corrupt: bool = False
    whole: bool = False
    wrong_range: bool = False


@dataclass
class Hub:
    """One repository. `sent` are the ranges whose bytes went out; `cdn_tokens` what the content network was shown."""

    repo: str
    files: dict[str, bytes]
    kind: str = "models"  # or datasets
    commit: str = COMMIT
    branch: str = "main"
    token: str | None = None
    refusal: tuple[int, dict[str, str]] | None = None  # of every request to the API
    faults: deque[Fault] = field(default_factory=deque)
    ranges: bool = True
    bytes_per_second: float | None = None
    cdn: str | None = None  # another origin, where downloads are redirected to
    sent: list[tuple[str, int, int]] = field(default_factory=list)
    cdn_tokens: list[str] = field(default_factory=list)
    requests: int = 0

    def app(self) -> web.Application:
        """The server."""
        app = web.Application()
        root = "" if self.kind == "models" else f"/{self.kind}"
        app.router.add_get(f"/api/{self.kind}/{{repo:[^/]+/[^/]+}}/revision/{{revision:.+}}", self._revision)
        app.router.add_get(f"/api/{self.kind}/{{repo:[^/]+/[^/]+}}/tree/{{commit}}", self._tree)
        app.router.add_get(f"{root}/{{repo:[^/]+/[^/]+}}/resolve/{{commit}}/{{path:.+}}", self._resolve)
        app.router.add_get("/cdn/{path:.+}", self._cdn)
        app.router.add_get("/sent", self._sent)
        return app

    async def _revision(self, request: web.Request) -> web.Response:
        self._admit(request)
        if request.match_info["revision"] not in (self.branch, self.commit):
            raise web.HTTPNotFound(headers={"X-Error-Code": "RevisionNotFound"})
        return web.json_response({"id": self.repo, "sha": self.commit})

    async def _tree(self, request: web.Request) -> web.Response:
        self._admit(request)
        if request.match_info["commit"] != self.commit:
            raise web.HTTPNotFound(headers={"X-Error-Code": "RevisionNotFound"})
        entries = [{"type": "directory", "path": "figures", "oid": "0" * 40, "size": 0}]
        entries += [self._entry(path, data) for path, data in sorted(self.files.items())]
        at = int(request.query.get("cursor", "0"))
        headers = {}
        if at + PAGE < len(entries):
            following = request.url.update_query(cursor=at + PAGE)
            headers["Link"] = f'<{following}>; rel="next"'
        return web.json_response(entries[at : at + PAGE], headers=headers)

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        self._admit(request)
        path = request.match_info["path"]
        if request.match_info["commit"] != self.commit or path not in self.files:
            raise web.HTTPNotFound(headers={"X-Error-Code": "RevisionNotFound"})
        if self.cdn is not None:
            raise web.HTTPFound(f"{self.cdn}/cdn/{path}?signature=secret")
        return await self._give(request, path)

    async def _cdn(self, request: web.Request) -> web.StreamResponse:
        if "Authorization" in request.headers:
            self.cdn_tokens.append(request.headers["Authorization"])
        return await self._give(request, request.match_info["path"])

    async def _sent(self, request: web.Request) -> web.Response:
        return web.json_response(self.sent)

    async def _give(self, request: web.Request, path: str) -> web.StreamResponse:
        fault = self.faults.popleft() if self.faults else Fault()
        if fault.status:
            raise _STATUS(fault)
        data = self.files[path]
        asked = request.http_range
        part = self.ranges and not fault.whole and asked.start is not None
        begin, end = (asked.start, min(asked.stop or len(data), len(data))) if part else (0, len(data))
        headers = {"Content-Length": str(end - begin)}
        if part:
            shown = begin + 1 if fault.wrong_range else begin
            headers["Content-Range"] = f"bytes {shown}-{end - 1}/{len(data)}"
        response = web.StreamResponse(status=206 if part else 200, headers=headers)
        await response.prepare(request)
        stop = end if fault.cut_after is None else min(end, begin + fault.cut_after)
        step = 4096 if len(data) < 1 << 20 else 1 << 18
        for at in range(begin, stop, step):
            block = data[at : min(at + step, stop)]
            self.sent.append((path, at, at + len(block)))
            await response.write(bytes(len(block)) if fault.corrupt else block)
            if self.bytes_per_second:
                await asyncio.sleep(len(block) / self.bytes_per_second)
        if stop < end and request.transport is not None:
            request.transport.abort()
        return response

    def _admit(self, request: web.Request) -> None:
        self.requests += 1
        if self.refusal is not None:
            raise _STATUS(Fault(*self.refusal))
        given = request.headers.get("Authorization")
        if self.token is not None and given != f"Bearer {self.token}":
            raise web.HTTPUnauthorized(headers={} if given else {"X-Error-Code": "RepoNotFound"})
        if request.match_info["repo"] != self.repo:
            raise web.HTTPNotFound(headers={"X-Error-Code": "RepoNotFound"})

    def _entry(self, path: str, data: bytes) -> dict[str, object]:
        if path.endswith((".safetensors", ".bin")):
            lfs = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 135}
            return {"type": "file", "path": path, "oid": "1" * 40, "size": len(data), "lfs": lfs}
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
        return {"type": "file", "path": path, "oid": blob, "size": len(data)}


def _STATUS(fault: Fault) -> web.HTTPException:  # noqa: N802 made like an exception class
    class Refusal(web.HTTPException):
        status_code = fault.status

    return Refusal(headers=fault.headers)


@contextmanager
def running(hub: Hub) -> Iterator[str]:
    """The hub on a loopback port, in a thread of its own; `hub.cdn` may be set to `cdn` for another origin."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(hub.app(), access_log=None, shutdown_timeout=0.1)

    async def start() -> str:
        await runner.setup()
        ports = []
        for _ in range(2):
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
        ports = [address[1] for address in runner.addresses]
        if hub.cdn == "cdn":
            hub.cdn = f"http://127.0.0.1:{ports[1]}"
        return f"http://127.0.0.1:{ports[0]}"

    async def stop() -> None:
        await asyncio.sleep(0.05)  # asyncio loses what it has accepted and not yet given a transport
        await runner.cleanup()
        waiting = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.sleep(0.05)  # transports close in the loop's next rounds

    url = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield url
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def main() -> None:
    """Serve the files of a directory as a repository, slowly enough to be watched where a speed is given."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--repo", default="tiny/model")
    parser.add_argument("--kind", choices=("models", "datasets"), default="models")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--bytes-per-second", type=float)
    options = parser.parse_args()
    files = {str(path.relative_to(options.directory)): path.read_bytes() for path in _files(options.directory)}
    token, speed = os.environ.get("HUB_TOKEN"), options.bytes_per_second
    hub = Hub(options.repo, files, options.kind, token=token, bytes_per_second=speed)
    web.run_app(hub.app(), port=options.port, print=None)


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
