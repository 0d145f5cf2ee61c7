"""A gateway between a fake Kubernetes API, a fake engine and real clients."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import openai
from aiohttp import web
from deepseek_runtime.gateway.server import Running, running
from deepseek_runtime.gateway.settings import Address, Settings

from tests.unit.gateway.fake_engine import MASTER, FakeEngine
from tests.unit.gateway.fake_kubernetes import FakeKubernetes


@dataclass
class World:
    kubernetes: FakeKubernetes
    engine: FakeEngine
    engine_url: str
    settings: Settings
    running: Running
    http: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.running.port}"

    def openai(self, key: str) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0)

    async def post(self, key: str | None, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        async with self.http.post(f"{self.url}/v1/completions", data=data, headers=headers) as response:
            return response.status, await response.json()

    def records(self) -> list[dict[str, Any]]:
        return read_records(self.settings.replica_directory)

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [record for record in self.records() if record["kind"] == kind]


def read_records(directory: Path) -> list[dict[str, Any]]:
    lines = (line for file in sorted(directory.glob("audit-*.jsonl")) for line in file.read_bytes().split(b"\n"))
    return [json.loads(line) for line in lines if line]


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def settings_for(kubernetes_url: str, directory: Path) -> Settings:
    (directory / "token").write_text("gateway-token\n")
    (directory / "master").write_bytes(MASTER)
    return Settings(
        namespace="system",
        replica="gateway-0",
        kubernetes_url=kubernetes_url,
        kubernetes_token_file=directory / "token",
        kubernetes_ca_file=None,
        listen=Address("127.0.0.1", 0),
        metrics_listen=Address("127.0.0.1", 0),
        master_key_file=directory / "master",
        audit_directory=directory / "audit",
        shutdown_delay_seconds=0,
        drain_seconds=0.2,
        connect_timeout_seconds=1,
    )


@asynccontextmanager
async def world(directory: Path, **changes: Any) -> AsyncIterator[World]:
    """One service, team-a/chat; whoever may use it is up to the test."""
    kubernetes, engine = FakeKubernetes(), FakeEngine()
    async with served(engine.app()) as engine_url, served(kubernetes.app()) as kubernetes_url:
        kubernetes.put_route(engine_url)
        settings = replace(settings_for(kubernetes_url, directory), **changes)
        async with running(settings) as up, aiohttp.ClientSession() as http:
            made = World(kubernetes, engine, engine_url, settings, up, http)
            await until(lambda: up.gateway.routes.synced and up.gateway.audit.writable)
            yield made
            kubernetes.break_watches()


async def until(true: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 what is waited for has no event
            await asyncio.sleep(0.005)
