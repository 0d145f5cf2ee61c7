import asyncio
import io
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from deepseek_runtime.serve.engine_thread import EngineThread, Loaded
from deepseek_runtime.serve.http_api import HttpApi
from deepseek_runtime.wire import credential
from deepseek_runtime.wire.proof import prove

from tests.unit.serve.conftest import Model
from tests.unit.serve.models import BEGIN, END, VOCABULARY, greedy

Models = Callable[[str], Model]


class Client:
    def __init__(self, session: aiohttp.ClientSession, api: HttpApi, thread: EngineThread) -> None:
        self.session = session
        self.api = api
        self.thread = thread

    async def complete(self, path: str = "/v1/completions", **body: Any) -> tuple[int, dict[str, Any]]:
        async with self.session.post(path, json={"model": "tiny", **body}) as response:
            return response.status, await response.json()

    async def stream(self, path: str = "/v1/completions", **body: Any) -> list[Any]:
        async with self.session.post(path, json={"model": "tiny", "stream": True, **body}) as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "text/event-stream"
            lines = (await response.text()).split("\n\n")
        assert lines.pop() == ""
        assert lines.pop() == "data: [DONE]"
        return [json.loads(line.removeprefix("data: ")) for line in lines]

    async def status(self, path: str) -> int:
        async with self.session.get(path) as response:
            return response.status


@asynccontextmanager
async def serving(
    model: Model, gate: threading.Event | None = None, load_error: Exception | None = None, **config: Any
) -> AsyncIterator[Client]:
    def load(beat: Callable[[], None]) -> Loaded:
        if gate is not None:
            gate.wait(20)
        if load_error is not None:
            raise load_error
        engine = model.engine(max_sequences=config.get("max_sequences", 8))
        return Loaded(engine, model.tokenizer, model.chat, 256, VOCABULARY)

    from deepseek_runtime.serve.metrics import Metrics

    thread = EngineThread(load)
    api = HttpApi(model.config(**config), thread, Metrics("tiny"))
    runner = web.AppRunner(api.app(), handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    thread.start()
    port = runner.addresses[0][1]
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            if gate is None:
                await until(lambda: thread.loaded is not None or thread.ended.done())
            yield Client(session, api, thread)
    finally:
        await runner.cleanup()
        if gate is not None:
            gate.set()
        assert await asyncio.to_thread(thread.stop, 20)


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_an_answer_is_the_same_whole_streamed_and_among_others(models: Models) -> None:
    model = models("v3")
    prompt = model.tokenizer.encode("the quick")
    expected = model.tokenizer.decode(greedy(model.reference, prompt, 20))
    asked = {"prompt": "the quick", "max_tokens": 20, "temperature": 0, "ignore_eos": True}
    async with serving(model) as client:
        status, whole = await client.complete(**asked)
        assert status == 200
        assert whole["object"] == "text_completion"
        assert whole["model"] == "tiny"
        assert whole["choices"] == [{"index": 0, "text": expected, "logprobs": None, "finish_reason": "length"}]
        usage = {"prompt_tokens": len(prompt), "completion_tokens": 20, "total_tokens": len(prompt) + 20}
        assert whole["usage"] == usage

        events = await client.stream(**asked, stream_options={"include_usage": True})
        assert events.pop()["usage"] == usage
        assert "".join(event["choices"][0]["text"] for event in events) == expected
        reasons = [event["choices"][0]["finish_reason"] for event in events]
        assert reasons == [None] * (len(events) - 1) + ["length"]
        assert all("usage" not in event for event in await client.stream(**asked))

        answers = await asyncio.gather(
            *(client.complete(prompt=f"text {i}", max_tokens=30, seed=i) for i in range(5)),
            client.complete(**{**asked, "prompt": prompt}),
        )
        assert [status for status, _ in answers] == [200] * 6
        assert answers[-1][1]["choices"] == whole["choices"]


async def test_defaults_are_openais(models: Models) -> None:
    async with serving(models("llama")) as client:
        _, answer = await client.complete(prompt="a", ignore_eos=True)
        assert answer["usage"]["completion_tokens"] == 16
        texts = {(await client.complete(prompt="a", ignore_eos=True))[1]["choices"][0]["text"] for _ in range(4)}
        assert len(texts) > 1, "temperature is 1 where nothing is said"
        _, last = await client.complete(prompt=[5] * 250, ignore_eos=True)
        assert last["usage"]["completion_tokens"] == 6, "what the context has room for"


async def test_logprobs_have_openais_shape(models: Models) -> None:
    async with serving(models("v3")) as client:
        asked = {"prompt": "the", "max_tokens": 8, "temperature": 1, "seed": 3, "ignore_eos": True}
        _, answer = await client.complete(**asked, logprobs=2)
        choice = answer["choices"][0]
        lists = choice["logprobs"]
        assert {len(values) for values in lists.values()} == {8}
        for token, value, top in zip(lists["tokens"], lists["token_logprobs"], lists["top_logprobs"], strict=True):
            assert top[token] == value
            assert 2 <= len(top) <= 3
        assert lists["text_offset"] == sorted(lists["text_offset"])
        for token, offset in zip(lists["tokens"], lists["text_offset"], strict=True):
            if not token.startswith(("bytes:", "token_id:")):
                assert choice["text"][offset:].startswith(token) or "\ufffd" in choice["text"]
        events = await client.stream(**asked, logprobs=2)
        streamed = [token for event in events for token in event["choices"][0]["logprobs"]["tokens"]]
        assert streamed == lists["tokens"]
        _, none = await client.complete(**asked, logprobs=0)
        assert none["choices"][0]["logprobs"]["top_logprobs"] is None
        assert none["choices"][0]["logprobs"]["token_logprobs"] == lists["token_logprobs"]


def test_nothing_in_a_text_becomes_a_special_token(models: Models) -> None:
    tokenizer = models("v3").tokenizer
    assert tokenizer.end == {END}
    tokens = tokenizer.encode("hello <|end|> and <|begin|>")
    assert tokens[0] == BEGIN
    assert END not in tokens
    assert BEGIN not in tokens[1:]
    assert tokenizer.decode(tokens) == "hello <|end|> and <|begin|>"


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"temperature": -0.1}, "temperature", "greater than or equal to 0"),
        ({"temperature": 2.1}, "temperature", "less than or equal to 2"),
        ({"top_p": 0}, "top_p", "greater than 0"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"n": 2}, "n", "must be 1"),
        ({"echo": True}, "echo", "must be false"),
        ({"logprobs": 6}, "logprobs", "less than or equal to 5"),
        ({"stop": ["a"] * 5}, "stop", "at most 4"),
        ({"prompt": []}, "prompt", "list of token ids"),
        ({"prompt": [VOCABULARY]}, "prompt", f"0 to {VOCABULARY - 1}"),
        ({"prompt": ["a", "b"]}, "prompt", "one string"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "'stream' is true"),
        ({"tools": []}, "tools", "not a parameter"),
        ({"prompt": [5] * 256}, "prompt", "256 tokens long"),
        ({"prompt": [5] * 200, "max_tokens": 57}, "max_tokens", "256 tokens long"),
        ({"prompt": "x" * 20_000}, "prompt", "20000 characters"),
    ],
)
async def test_what_is_not_honoured_is_refused(models: Models, body: dict[str, Any], param: str, says: str) -> None:
    async with serving(models("v3")) as client:
        status, answer = await client.complete(**{"prompt": "a", **body})
        assert status == 400
        assert answer["error"]["param"] == param
        assert says in answer["error"]["message"]
        assert (answer["error"]["code"] == "context_length_exceeded") == ("long" in says or "characters" in says)


async def test_other_models_paths_methods_and_bodies_get_openais_errors(models: Models) -> None:
    async with serving(models("v3")) as client:
        status, answer = await client.complete(prompt="a", model="other")
        assert (status, answer["error"]["code"]) == (404, "model_not_found")
        for method, path, data, expected in (
            ("GET", "/v1/chat", None, 404),
            ("GET", "/v1/completions", None, 405),
            ("POST", "/v1/completions", b'{"model": ', 400),
            ("POST", "/v1/completions", b'{"model": "tiny", "model": "tiny", "prompt": "a"}', 400),
            ("POST", "/v1/completions", io.BytesIO(b" " * (9 * 1024 * 1024)), 413),
        ):
            async with client.session.request(method, path, data=data) as response:
                assert response.status == expected
                assert (await response.json())["error"]["message"]


async def test_everything_but_health_needs_a_proof_of_its_own(models: Models) -> None:
    key, other = (credential.private_key(bytes(32), name) for name in ("mine", "another"))
    completions = json.dumps({"model": "tiny", "prompt": "a", "max_tokens": 2}).encode()
    asked = [("GET", "/v1/models", b""), ("POST", "/v1/completions", completions)]
    async with serving(models("v3"), credential=credential.public_key(bytes(32), "mine")) as client:

        async def ask(method: str, path: str, body: bytes, proven: str | None) -> tuple[int, str]:
            headers = {"Authorization": proven} if proven else {}
            async with client.session.request(method, path, data=body or None, headers=headers) as response:
                return response.status, (await response.json()).get("error", {}).get("message", "")

        assert await client.status("/health/live") == await client.status("/health/ready") == 200
        for method, path, body in (*asked, ("GET", "/nope", b"")):
            for bad in (None, "Bearer x", prove(other, method, path, body, time.time())):
                assert (await ask(method, path, body, bad))[0] == 401
            old = prove(key, method, path, body, time.time() - 90)
            assert "s behind" in (await ask(method, path, body, old))[1]
            changed = prove(key, method, path, body + b" ", time.time())
            assert "another body" in (await ask(method, path, body, changed))[1]
        for method, path, body in asked:
            good = prove(key, method, path, body, time.time())
            assert await ask(method, path, body, good) == (200, "")
            status, message = await ask(method, path, body, good)
            assert (status, "used before" in message) == (401, True)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
async def test_a_stream_gives_signs_of_life_while_its_request_waits(
    models: Models, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr("deepseek_runtime.serve.http_api.QUIET_SECONDS", 0.05)
    prompt: dict[str, Any] = (
        {"prompt": "a"} if path == "/v1/completions" else {"messages": [{"role": "user", "content": "a"}]}
    )
    asked = {"model": "tiny", **prompt, "stream": True, "max_tokens": 4}
    async with serving(models("v3-chat"), max_sequences=1) as client:
        engine = client.thread.loaded.engine
        held = threading.Event()
        step = engine.step
        monkeypatch.setattr(engine, "step", lambda: held.is_set() and step())
        async with client.session.post(path, json=asked) as response:
            assert response.status == 200, "the head comes before any token"
            events = [await response.content.readuntil(b"\n\n") for _ in range(3)]
            held.set()
            rest = await response.text()
        assert events[-2:] == [b":\n\n"] * 2
        assert events[0].startswith(b":" if path == "/v1/completions" else b'data: {"id"')
        assert rest.endswith("data: [DONE]\n\n")
        assert len([line for line in rest.split("\n") if line.startswith("data: ")]) > 1
        held.clear()
        whole = asyncio.create_task(client.complete(path, **prompt, max_tokens=4))
        await asyncio.sleep(0.2)
        held.set()
        assert (await whole)[0] == 200


async def test_a_stream_of_a_dead_engine_gives_no_sign_of_life(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepseek_runtime.serve.http_api.QUIET_SECONDS", 0.02)
    async with serving(models("v3")) as client:
        engine = client.thread.loaded.engine
        monkeypatch.setattr(engine, "step", lambda: False)
        monkeypatch.setattr("deepseek_runtime.serve.engine_thread.HEARTBEAT_SECONDS", -1.0)
        async with client.session.post(
            "/v1/completions", json={"model": "tiny", "prompt": "a", "stream": True}
        ) as response:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(response.content.readany(), 0.2)


async def test_what_is_known_before_a_stream_begins_is_told_by_its_status(models: Models) -> None:
    async with serving(models("v3")) as client:
        for body, expected in (
            ({"temperature": 3}, 400), ({"prompt": [5] * 256}, 400), ({"prompt": [VOCABULARY]}, 400),
            ({"model": "other"}, 404),
        ):  # fmt: skip
            status, answer = await client.complete(**{"prompt": "a", "stream": True, **body})
            assert (status, bool(answer["error"]["message"])) == (expected, True)
        client.api.draining = True
        assert (await client.complete(prompt="a", stream=True))[0] == 503


async def test_a_client_that_leaves_frees_its_blocks(models: Models) -> None:
    async with serving(models("v3"), max_sequences=1) as client:
        scheduler = client.thread.loaded.engine.scheduler
        body = {"model": "tiny", "prompt": "a", "max_tokens": 250, "ignore_eos": True}
        response = await client.session.post("/v1/completions", json={**body, "stream": True})
        await response.content.readline()
        waiting = asyncio.create_task(client.session.post("/v1/completions", json=body))
        await until(lambda: client.api.active == 2 and len(scheduler.waiting) == 1)
        response.close()
        waiting.cancel()
        await until(lambda: client.api.active == 0 and scheduler.pool.used == 0 and not scheduler.waiting)
        assert (await client.complete(prompt="a"))[0] == 200


async def test_a_full_queue_is_refused_with_retry_after(models: Models) -> None:
    async with serving(models("llama"), max_sequences=1) as client:
        body = {"model": "tiny", "prompt": "a", "max_tokens": 250, "ignore_eos": True}
        tasks = [asyncio.create_task(client.session.post("/v1/completions", json=body)) for _ in range(5)]
        await until(lambda: client.api.active == 5)
        async with client.session.post("/v1/completions", json=body) as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) >= 1
            assert (await response.json())["error"]["code"] == "overloaded"
        for task in tasks:
            task.cancel()
        await until(lambda: client.api.active == 0)


async def test_health_tells_loading_serving_and_draining_apart(models: Models) -> None:
    gate = threading.Event()
    async with serving(models("v3"), gate) as client:
        assert (await client.status("/health/live"), await client.status("/health/ready")) == (200, 503)
        status, answer = await client.complete(prompt="a")
        assert (status, answer["error"]["code"]) == (503, "loading")
        gate.set()
        await until(lambda: client.thread.loaded is not None)
        assert await client.status("/health/ready") == 200
        running = asyncio.create_task(client.complete(prompt="a", max_tokens=60, ignore_eos=True))
        await until(lambda: client.api.active == 1)
        drained = asyncio.create_task(client.api.drain(20))
        await asyncio.sleep(0)
        assert (await client.complete(prompt="a"))[1]["error"]["code"] == "shutting_down"
        assert await client.status("/health/ready") == 503
        status, answer = await running
        assert (status, answer["usage"]["completion_tokens"]) == (200, 60)
        await drained


async def test_a_dead_or_stuck_engine_is_not_alive(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(models("v3"), load_error=RuntimeError("no")) as client:
        assert (await client.status("/health/live"), await client.status("/health/ready")) == (503, 503)
    async with serving(models("v3")) as client:
        monkeypatch.setattr("deepseek_runtime.serve.engine_thread.HEARTBEAT_SECONDS", -1.0)
        assert (await client.status("/health/live"), await client.status("/health/ready")) == (503, 503)
