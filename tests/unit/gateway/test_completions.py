"""What callers with OpenAI's own client see."""

import asyncio
import json
from pathlib import Path
from typing import Any

import openai
import pytest
from deepseek_runtime.gateway.openai.answer import Answer

from tests.unit.gateway.fake_engine import MASTER, WORDS
from tests.unit.gateway.world import World, until, world

TEXT = "".join(WORDS)


async def read_all(client: openai.AsyncOpenAI, stream: bool) -> None:
    if stream:
        async for _ in await client.completions.create(model="chat", prompt="x", stream=True):
            pass
    else:
        await client.completions.create(model="chat", prompt="x")


async def as_sent(it: World, key: str, stream: bool) -> tuple[int, str]:
    """The status and every letter of an answer, as no client library shows them."""
    asked = {"model": "chat", "prompt": "x", "stream": stream}
    headers = {"Authorization": f"Bearer {key}"}
    async with it.http.post(f"{it.url}/v1/completions", json=asked, headers=headers) as response:
        return response.status, await response.text()


async def test_whole_answer(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        key = it.kubernetes.put_key()
        it.kubernetes.allow("reader")
        async with it.openai(key) as client:
            answer = await client.completions.create(
                model="chat", prompt="Frage", temperature=0.5, user="u-7", extra_headers={"x-request-id": "abc-1"}
            )
        assert answer.choices[0].text == TEXT
        assert (answer.model, answer.id) == ("chat", "cmpl-abc-1")
        assert answer.usage is not None
        assert answer.usage.total_tokens == 8
        assert "secret" not in answer.to_dict()
        assert "token_ids" not in answer.choices[0].to_dict()
        assert it.engine.requests == [{"model": "team-a-chat", "prompt": "Frage", "temperature": 0.5, "user": "u-7"}]
        assert key not in str(it.engine.headers)
        intent, completion = it.of_kind("intent")[0], it.of_kind("completion")[0]
        assert (completion["intent"], completion["outcome"], completion["status"]) == (intent["seq"], "completed", 200)
        assert (completion["usage"]["total_tokens"], completion["finishReason"]) == (8, "stop")
        assert (intent["user"], intent["key"]) == ("system:serviceaccount:team-a:reader", "team-a/alice")
        assert intent["parameters"] == {"temperature": 0.5, "user": "u-7", "prompt_characters": 5}
        log = (it.settings.replica_directory / "audit-00000001.jsonl").read_text()
        assert all(secret not in log for secret in ("Frage", "Antwort", key, MASTER.decode()))


@pytest.mark.parametrize("include_usage", [True, False])
async def test_stream(tmp_path: Path, include_usage: bool) -> None:
    async with world(tmp_path) as it:
        key = it.kubernetes.put_key()
        it.kubernetes.allow("reader")
        async with it.openai(key) as client:
            stream = await client.completions.create(
                model="team-a/chat",
                prompt=[1, 2, 3],
                stream=True,
                stream_options={"include_usage": include_usage} if include_usage else openai.omit,
            )
            chunks = [chunk async for chunk in stream]
        assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == TEXT
        assert {chunk.model for chunk in chunks} == {"team-a/chat"}
        assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == ([8] if include_usage else [])
        assert len(chunks) == len(WORDS) + include_usage
        assert it.engine.requests[0]["stream_options"] == {"include_usage": True}
        completion = it.of_kind("completion")[0]
        assert completion["usage"]["completion_tokens"] == 5
        assert completion["answer"]["characters"] == len(TEXT)


async def test_an_engine_that_does_not_hang_up_is_not_waited_for(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        key = it.kubernetes.put_key()
        it.kubernetes.allow("reader")
        it.engine.behaviour = "linger"
        async with it.openai(key) as client, asyncio.timeout(3):
            await read_all(client, stream=True)
        assert it.of_kind("completion")[0]["outcome"] == "completed"


async def test_models_are_those_that_the_caller_may_use(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        it.kubernetes.put_route(it.engine_url, service="hidden")
        it.kubernetes.put_route(it.engine_url, namespace="team-b", service="shared")
        await until(lambda: len(it.running.gateway.routes) == 3)
        it.kubernetes.allow("reader")
        it.kubernetes.allow("reader", "team-b", "shared")
        async with it.openai(it.kubernetes.put_key()) as client:
            models = await client.models.list()
            assert [model.id for model in models.data] == ["team-a/chat", "team-b/shared"]
            assert (await client.models.retrieve("team-b/shared")).owned_by == "team-b"
            assert (await client.models.retrieve("chat")).id == "chat"
            with pytest.raises(openai.NotFoundError):
                await client.models.retrieve("hidden")


@pytest.mark.parametrize(
    ("behaviour", "code"), [("die", "upstream_interrupted"), ("error", "upstream_error"), ("junk", "upstream_error")]
)
async def test_a_stream_that_breaks_ends_with_an_error_event(tmp_path: Path, behaviour: str, code: str) -> None:
    async with world(tmp_path) as it:
        key = it.kubernetes.put_key()
        it.kubernetes.allow("reader")
        it.engine.behaviour = behaviour
        texts = []
        async with it.openai(key) as client:
            stream = await client.completions.create(model="chat", prompt="x", stream=True)
            with pytest.raises(openai.APIError) as raised:
                texts.extend([chunk.choices[0].text async for chunk in stream])
        assert raised.value.code == code
        completion = it.of_kind("completion")[0]
        assert (completion["outcome"], completion["error"]) == ("failed", code)
        assert completion["answer"] == {"events": 2, "characters": len("".join(WORDS[:2]))}


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [(400, 400, None), (429, 429, None), (500, 502, "upstream_error"), (503, 503, "model_not_ready"),
     (401, 502, "upstream_credential"), ("junk", 502, "upstream_error")],
)  # fmt: skip
async def test_what_the_engine_refuses(tmp_path: Path, behaviour: str | int, status: int, code: str | None) -> None:
    async with world(tmp_path) as it:
        key = it.kubernetes.put_key()
        it.kubernetes.allow("reader")
        it.engine.behaviour = behaviour
        for stream in (False, True) if isinstance(behaviour, int) else (False,):
            got, body = await it.post(key, {"model": "chat", "prompt": "x", "stream": stream})
            assert (got, body["error"]["code"]) == (status, code)
            assert (body["error"]["message"] == "engine says no") == (status in {400, 429})
        assert {record["status"] for record in it.of_kind("completion")} == {status}


@pytest.mark.parametrize("reason", ["A" * 100_000, "", "stopped", 7, ["stop"], {"stop": 1}])
async def test_no_other_finish_reason_than_openais_reaches_the_caller_or_the_audit_log(
    tmp_path: Path, reason: object
) -> None:
    async with world(tmp_path) as it:
        key = it.kubernetes.put_key()
        it.kubernetes.allow("reader")
        it.engine.last_choice = {"finish_reason": reason}
        async with it.openai(key) as client:
            for stream in (True, False):
                with pytest.raises(openai.APIError, match="strange finish_reason"):
                    await read_all(client, stream)
        for record in it.of_kind("completion"):
            assert (record["outcome"], record["error"], record["finishReason"]) == ("failed", "upstream_error", None)
        assert len(it.of_kind("completion")) == 2
        assert max(len(str(record)) for record in it.records()) < 2_000


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_is_nested_too_deeply_makes_no_sense(tmp_path: Path, stream: bool) -> None:
    async with world(tmp_path) as it:
        key = it.kubernetes.put_key()
        it.kubernetes.allow("reader")
        nested: list[Any] = []
        for _ in range(300):
            nested = [nested]
        it.engine.last_choice = {"logprobs": {"tokens": nested}}
        async with it.openai(key) as client:
            with pytest.raises(openai.APIError, match="makes no sense: the answer cannot be written as JSON") as raised:
                await read_all(client, stream)
        assert raised.value.code == "upstream_error"
        (completion,) = it.of_kind("completion")
        assert (completion["outcome"], completion["status"]) == ("failed", 502)


@pytest.mark.parametrize("stream", [True, False])
async def test_whatever_else_goes_wrong_is_logged_recorded_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    def fail(self: Answer, usage: object) -> None:
        raise RuntimeError("nobody has thought of this")

    monkeypatch.setattr(Answer, "chunk", fail)
    monkeypatch.setattr(Answer, "whole", fail)
    async with world(tmp_path) as it:
        key = it.kubernetes.put_key()
        it.kubernetes.allow("reader")
        status, text = await as_sent(it, key, stream)
        error = json.loads(text.removeprefix("data: "))["error"]  # the only event of a stream, with no [DONE] after it
        assert (status, error["code"]) == (200 if stream else 502, "upstream_error")
        (completion,) = it.of_kind("completion")
        assert (completion["outcome"], completion["status"], completion["error"]) == ("failed", 502, "upstream_error")
    assert "nobody has thought of this" in caplog.text


async def test_what_an_engine_calls_its_refusal_is_cut_for_the_audit_log(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        key = it.kubernetes.put_key()
        it.kubernetes.allow("reader")
        it.engine.behaviour, it.engine.code = 400, "A" * 10_000
        assert (await it.post(key, {"model": "chat", "prompt": "x"}))[0] == 400
        assert it.of_kind("completion")[0]["error"] == "A" * 64


async def test_an_engine_that_is_away_is_not_ready(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        key = it.kubernetes.put_key()
        it.kubernetes.put_route("http://127.0.0.1:1", service="down")
        it.kubernetes.put_route(it.engine_url, service="cold", ready=False)
        for service in ("down", "cold"):
            it.kubernetes.allow("reader", "team-a", service)
        await until(lambda: len(it.running.gateway.routes) == 3)
        async with it.openai(key) as client:
            for service in ("down", "cold"):
                with pytest.raises(openai.InternalServerError) as raised:
                    await client.completions.create(model=service, prompt="x")
                assert (raised.value.status_code, raised.value.code) == (503, "model_not_ready")
                assert raised.value.response.headers["retry-after"]
        assert [record["service"] for record in it.of_kind("intent")] == ["down"]


async def test_a_caller_that_leaves_ends_the_engines_work(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        key = it.kubernetes.put_key()
        it.kubernetes.allow("reader")
        it.engine.behaviour = "hang"
        for stream in (True, False):
            it.engine.cancelled.clear()
            it.engine.reached.clear()
            task = asyncio.create_task(it.post(key, {"model": "chat", "prompt": "x", "stream": stream}))
            await it.engine.reached.wait()
            task.cancel()
            await asyncio.wait([task])
            async with asyncio.timeout(5):
                await it.engine.cancelled.wait()
        await until(lambda: len(it.of_kind("completion")) == 2)
        assert {(record["outcome"], record["status"]) for record in it.of_kind("completion")} == {("cancelled", 499)}


@pytest.mark.parametrize("stream", [True, False])
async def test_an_engine_that_says_nothing_any_more(tmp_path: Path, stream: bool) -> None:
    async with world(tmp_path, idle_timeout_seconds=0.1, request_timeout_seconds=0.3) as it:
        key = it.kubernetes.put_key()
        it.kubernetes.allow("reader")
        it.engine.behaviour = "hang"
        async with it.openai(key) as client:
            with pytest.raises(openai.APIError) as raised:
                await read_all(client, stream)
        assert raised.value.code == "upstream_timeout"
        assert it.of_kind("completion")[0]["status"] == 504


async def test_an_engine_that_gives_signs_of_life_is_waited_for_and_they_are_passed_on(tmp_path: Path) -> None:
    async with world(tmp_path, idle_timeout_seconds=0.6) as it:
        key = it.kubernetes.put_key()
        it.kubernetes.allow("reader")
        it.engine.behaviour = "quiet"
        async with it.openai(key) as client:
            stream = await client.completions.create(model="chat", prompt="x", stream=True)
            assert "".join([chunk.choices[0].text async for chunk in stream]) == TEXT
        _, text = await as_sent(it, key, stream=True)
        signs, _, events = text.partition("data: ")
        assert 1 <= signs.count(":\n\n") <= 4
        assert signs.replace(":\n\n", "") == ""
        assert ":\n\n" not in events
        assert [record["outcome"] for record in it.of_kind("completion")] == ["completed"] * 2


async def test_a_stop_ends_what_does_not_end_and_says_so(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        key = it.kubernetes.put_key()
        it.kubernetes.allow("reader")
        it.engine.behaviour = "hang"

        async def ask(stream: bool) -> str | None:
            async with it.openai(key) as client:
                with pytest.raises(openai.APIError) as raised:
                    await read_all(client, stream)
                return raised.value.code

        asked = asyncio.gather(ask(stream=True), ask(stream=False))
        await until(lambda: len(it.engine.requests) == 2)
        # Leaving the block stops the gateway; both callers are still waiting then.
    assert list(await asked) == ["shutting_down"] * 2
    records = it.records()
    assert [record["outcome"] for record in records if record["kind"] == "completion"] == ["interrupted"] * 2
    assert records[-1]["kind"] == "stopped"
