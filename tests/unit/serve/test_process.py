"""The whole process: two ranks, both ports, a killed rank; and what it says when it cannot start."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.serve import server, service
from deepseek_runtime.serve.team import Team
from deepseek_runtime.wire import credential
from deepseek_runtime.wire.progress import Progress
from deepseek_runtime.wire.proof import prove
from deepseek_runtime.wire.result import decode
from deepseek_runtime.wire.serve import ServeConfig

from tests.unit.serve.conftest import Model
from tests.unit.serve.models import greedy, make_model

MASTER = bytes(32)
RUN = """
import sys
from pathlib import Path
from deepseek_runtime.serve import server
from deepseek_runtime.wire.serve import ServeConfig
if __name__ == "__main__":
    sys.exit(server.main(ServeConfig.model_validate_json(sys.argv[1]), termination_log=Path(sys.argv[2])))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def children(pid: int) -> list[int]:
    """Ranks among a process's children."""
    pids = [int(pid) for pid in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    pids += [int(p) for t in Path(f"/proc/{pid}/task").iterdir() for p in (t / "children").read_text().split()]
    return [p for p in dict.fromkeys(pids) if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]


async def test_two_ranks_serve_transformers_tokens_and_end_together(
    models: Callable[[str], Model], tmp_path: Path
) -> None:
    model = models("v3")
    config = model.config(
        tensor_parallel=2,
        model_digest=model.digest,
        credential=credential.public_key(MASTER, "tiny"),
        port=free_port(),
        status_port=free_port(),
    )
    script, log = tmp_path / "run.py", tmp_path / "termination-log"
    script.write_text(RUN)
    log.touch()
    root = Path(__file__).parents[3]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{root}/operator:{root}/runtime"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), config.to_json(), str(log), env=environment
    )
    try:
        await _ready(config, lambda: process.returncode is not None)
        async with aiohttp.ClientSession(middlewares=(_prove,)) as session:
            await _answers(session, config, model)
            await _shows_figures(session, config)
        (rank,) = children(process.pid)
        os.kill(rank, signal.SIGKILL)
        killed = time.monotonic()
        assert await asyncio.wait_for(process.wait(), 10) == 70
        assert time.monotonic() - killed < 2
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    result = decode(log.read_text())
    assert result is not None
    assert (result.kind, result.outcome, result.reason) == ("serve", "failed", "Crashed")
    assert "Rank 1 of 2 was killed by SIGKILL" in str(result.message)


async def _prove(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """As the gateway and the operator do."""
    body = await request.body.as_bytes() if isinstance(request.body, aiohttp.Payload) else request.body
    key = credential.private_key(MASTER, "tiny")
    proof = prove(key, request.method, request.url.raw_path_qs, body, time.time())
    request.headers.setdefault("Authorization", proof)
    return await handler(request)


async def _ready(config: ServeConfig, ended: Callable[[], bool]) -> None:
    """Until the engine is ready, asked as the kubelet asks: without a credential."""

    def ask() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{config.port}/health/ready", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    while not await asyncio.to_thread(ask):
        assert not ended()
        await asyncio.sleep(0.1)


async def _answers(session: aiohttp.ClientSession, config: ServeConfig, model: Model) -> None:
    async def ask(prompt: list[int]) -> list[str]:
        body = {
            "model": "tiny",
            "prompt": prompt,
            "max_tokens": 15,
            "temperature": 0,
            "ignore_eos": True,
            "logprobs": 0,
        }
        async with session.post(f"http://127.0.0.1:{config.port}/v1/completions", json=body) as response:
            assert response.status == 200
            return list((await response.json())["choices"][0]["logprobs"]["tokens"])

    prompts = [[5], list(range(2, 80)), [9, 8, 7] * 30]
    for prompt, names in zip(prompts, await asyncio.gather(*map(ask, prompts)), strict=True):
        assert names == [model.tokenizer.name(token) for token in greedy(model.reference, prompt, 15)]


async def _shows_figures(session: aiohttp.ClientSession, config: ServeConfig) -> None:
    url = f"http://127.0.0.1:{config.status_port}"
    async with session.get(f"{url}/metrics") as response:
        metrics = await response.text()
    assert 'deepseek_engine_generation_tokens_total{model_name="tiny"} 45.0' in metrics
    assert f'deepseek_engine_prompt_tokens_total{{model_name="tiny"}} {1 + 78 + 90}.0' in metrics
    assert 'deepseek_engine_time_to_first_token_seconds_count{model_name="tiny"} 3.0' in metrics
    assert 'deepseek_engine_kv_cache_usage_perc{model_name="tiny"} 0.0' in metrics
    async with session.get(f"{url}/progress") as response:
        assert Progress.model_validate_json(await response.read()).phase == "serving"
    for path in ("/metrics", "/progress"):
        async with session.get(f"{url}{path}", headers={"Authorization": "Bearer wrong"}) as response:
            assert response.status == 401


async def test_sigterm_ends_an_engine_with_nothing_left_behind(models: Callable[[str], Model]) -> None:
    config = models("v3").config(port=free_port(), status_port=free_port())
    running = asyncio.create_task(service.run(config, Team(config)))
    await _ready(config, running.done)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running


def test_a_tampered_weight_file_is_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "model"
    model.mkdir()
    digest = make_model("llama", model)
    weights = model / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    log = tmp_path / "termination-log"
    log.touch()
    config = ServeConfig(
        owner="test",
        served_name="tiny",
        model=str(model),
        model_digest=digest,
        port=free_port(),
        status_port=free_port(),
    )
    monkeypatch.setattr(server, "_leave", sys.exit)
    monkeypatch.setattr(server.logging, "basicConfig", lambda **_: None)
    with pytest.raises(SystemExit) as ended:
        server.main(config, termination_log=log)
    assert ended.value.code == DataError.code == 65
    result = json.loads(log.read_text())
    assert (result["kind"], result["identity"], result["reason"]) == ("serve", "", "DigestMismatch")
    assert "model.safetensors" in result["message"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tensor_parallel": 3}, "HeadsNotDivisible"),
        ({"context_length": 100_000}, "ContextTooLong"),
        ({"dtype": "float8"}, "InvalidConfig"),
    ],
)
async def test_an_impossible_configuration_ends_at_once_and_says_so(
    models: Callable[[str], Model], changes: dict[str, object], reason: str
) -> None:
    config = models("v3").config(port=free_port(), status_port=free_port(), **changes)
    with pytest.raises(ConfigurationError) as refused:
        await service.run(config, Team(config))
    assert (refused.value.reason, refused.value.code) == (reason, 64)
