"""The process as Kubernetes runs it: environment in, SIGKILL in the middle of a request, SIGTERM at the end."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from deepseek_runtime.gateway.__main__ import main
from deepseek_runtime.gateway.audit.verify import verify

from tests.unit.gateway.fake_engine import FakeEngine
from tests.unit.gateway.fake_kubernetes import FakeKubernetes
from tests.unit.gateway.world import read_records, served, settings_for

ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def process(directory: Path, kubernetes_url: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A gateway that is ready, and its URL; killed in the end if it still runs."""
    settings = settings_for(kubernetes_url, directory)
    with socket.socket() as free, socket.socket() as other:
        free.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        address, metrics = (f"127.0.0.1:{each.getsockname()[1]}" for each in (free, other))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "runtime"),
        "POD_NAMESPACE": settings.namespace,
        "POD_NAME": settings.replica,
        "GATEWAY_KUBERNETES_URL": kubernetes_url,
        "GATEWAY_KUBERNETES_TOKEN_FILE": str(settings.kubernetes_token_file),
        "GATEWAY_MASTER_KEY_FILE": str(settings.master_key_file),
        "GATEWAY_AUDIT_DIRECTORY": str(settings.audit_directory),
        "GATEWAY_LISTEN": address,
        "GATEWAY_METRICS_LISTEN": metrics,
        "GATEWAY_SHUTDOWN_DELAY_SECONDS": "0.5",
        "GATEWAY_DRAIN_SECONDS": "10",
    }
    with (directory / "stderr").open("ab") as stderr:
        running = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "deepseek_runtime.gateway", env=environment, stderr=stderr
        )
    try:
        await until_ready(f"http://{address}", wanted=True)
        yield running, f"http://{address}"
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def until_ready(url: str, *, wanted: bool) -> None:
    async with asyncio.timeout(20), aiohttp.ClientSession() as http:
        for _ in range(400):
            try:
                async with http.get(f"{url}/health/ready") as response:
                    ready = response.status == 200
            except aiohttp.ClientError:
                ready = False
            if ready is wanted:
                return
            await asyncio.sleep(0.05)


async def ask(url: str, key: str) -> bytes:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as http:
        body = {"model": "chat", "prompt": "a secret", "stream": True}
        async with http.post(f"{url}/v1/completions", json=body) as response:
            return await response.read()


async def test_a_life_with_a_kill_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kubernetes, engine = FakeKubernetes(), FakeEngine()
    async with served(engine.app()) as engine_url, served(kubernetes.app()) as kubernetes_url:
        kubernetes.put_route(engine_url)
        key = kubernetes.put_key()
        kubernetes.allow("reader")
        engine.behaviour = "hang"
        async with process(tmp_path, kubernetes_url) as (running, url):
            asked = asyncio.create_task(ask(url, key))
            await engine.reached.wait()
            running.kill()
            with pytest.raises(aiohttp.ClientError):
                await asked

        engine.behaviour = "words"
        async with process(tmp_path, kubernetes_url) as (running, url):
            assert b"[DONE]" in await ask(url, key)
            engine.behaviour = "slow"
            engine.reached.clear()
            asked = asyncio.create_task(ask(url, key))
            await engine.reached.wait()
            running.send_signal(signal.SIGTERM)
            await until_ready(url, wanted=False)
            assert b"[DONE]" in await asked
            assert await running.wait() == 0

    directory = tmp_path / "audit" / "gateway-0"
    report = verify(directory)
    assert not report.problems
    assert len(report.notes) == 1
    assert "audit-00000001.jsonl:2: request" in report.notes[0]
    assert "the gateway ended" in report.notes[0]
    kinds = [record["kind"] for record in read_records(directory)]
    assert kinds == ["started", "intent", "started", "intent", "completion", "intent", "completion", "stopped"]
    logged = (tmp_path / "stderr").read_text()
    assert f'"requestId":"{read_records(directory)[3]["requestId"]}"' in logged
    assert not [secret for secret in (key, "a secret", "gateway-token", "m" * 32) if secret in logged]

    assert main(["audit", "verify", str(tmp_path / "audit")]) == 0
    file = directory / "audit-00000001.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"cached":true', b'"cached":null', 1))
    assert main(["audit", "verify", str(tmp_path / "audit")]) == 1
    assert "PROBLEM audit-00000001.jsonl:6: the line was changed" in capsys.readouterr().out
