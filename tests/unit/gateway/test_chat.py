"""Chats as OpenAI's own client has them, and what of them reaches the engine and the audit log."""

from pathlib import Path
from typing import Any

import openai
import pytest

from tests.unit.gateway.fake_engine import WORDS
from tests.unit.gateway.world import World, world

TEXT = "".join(WORDS)
MESSAGES: Any = [
    {"role": "developer", "content": "a secret of mine"},
    {"role": "user", "content": [{"type": "text", "text": "to "}, {"type": "text", "text": "be"}]},
]
SAID = [{"role": "system", "content": "a secret of mine"}, {"role": "user", "content": "to be"}]


def client(it: World) -> openai.AsyncOpenAI:
    it.kubernetes.allow("reader")
    return it.openai(it.kubernetes.put_key())


async def test_whole_answer(tmp_path: Path) -> None:
    async with world(tmp_path) as it, client(it) as caller:
        answer = await caller.chat.completions.create(
            model="chat", messages=MESSAGES, max_completion_tokens=9, stop=["."], n=1, tools=[], logprobs=True
        )
        assert answer.object == "chat.completion"
        assert answer.model == "chat"
        choice = answer.choices[0]
        assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", TEXT, "stop")
        assert choice.logprobs is not None
        assert choice.logprobs.content is not None
        assert choice.logprobs.content[0].top_logprobs[0].bytes == [97]
        assert answer.usage is not None
        assert answer.usage.total_tokens == 8
        for internal in ("internal", "hidden", "token_ids", '"id":5'):
            assert internal not in answer.model_dump_json()
        assert it.engine.requests == [
            {
                "model": it.engine.requests[0]["model"],
                "messages": SAID,
                "max_completion_tokens": 9,
                "stop": ["."],
                "logprobs": True,
            }
        ]
        (intent,), (completion,) = it.of_kind("intent"), it.of_kind("completion")
        assert intent["endpoint"] == "/v1/chat/completions"
        assert intent["parameters"] == {
            "max_completion_tokens": 9,
            "logprobs": True,
            "messages": 2,
            "message_characters": 21,
            "stop_sequences": 1,
        }
        assert (completion["outcome"], completion["usage"]["total_tokens"]) == ("completed", 8)
        assert completion["answer"]["characters"] == len(TEXT)
        assert answer.id == f"chatcmpl-{intent['requestId']}"
        log = "".join(file.read_text() for file in it.settings.replica_directory.glob("audit-*"))
        assert not any(words in log for words in ("secret of mine", "to be", TEXT))


@pytest.mark.parametrize("usage", [True, False])
async def test_stream(tmp_path: Path, usage: bool) -> None:
    async with world(tmp_path) as it, client(it) as caller:
        options: Any = {"stream_options": {"include_usage": True}} if usage else {}
        stream = await caller.chat.completions.create(model="chat", messages=MESSAGES, stream=True, **options)
        chunks = [chunk async for chunk in stream]
        assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
        deltas = [chunk.choices[0] for chunk in chunks if chunk.choices]
        assert deltas[0].delta.role == "assistant"
        assert "".join(delta.delta.content or "" for delta in deltas) == TEXT
        assert deltas[-1].finish_reason == "stop"
        assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == ([8] if usage else [])
        assert it.engine.requests[0]["stream_options"] == {"include_usage": True}
        assert it.of_kind("completion")[0]["usage"]["total_tokens"] == 8


async def test_the_openai_clients_own_stream_helper(tmp_path: Path) -> None:
    async with world(tmp_path) as it, client(it) as caller:
        async with caller.chat.completions.stream(model="chat", messages=MESSAGES) as stream:
            answer = await stream.get_final_completion()
        again = await caller.chat.completions.create(model="chat", messages=[*MESSAGES, answer.choices[0].message])
        assert again.choices[0].message.content == TEXT
        assert it.engine.requests[1]["messages"] == [*SAID, {"role": "assistant", "content": TEXT}]


async def test_what_is_refused_never_reaches_the_engine(tmp_path: Path) -> None:
    async with world(tmp_path) as it, client(it) as caller:
        for change, param in (
            ({"n": 2}, "n"),
            ({"max_tokens": 129}, "max_tokens"),
            ({"max_completion_tokens": 10**9}, "max_completion_tokens"),
            ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
            ({"extra_body": {"colour": "red"}}, "colour"),
            ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "messages"),
        ):
            asked: Any = {"model": "chat", "messages": MESSAGES, **change}
            with pytest.raises(openai.BadRequestError) as caught:
                await caller.chat.completions.create(**asked)
            assert caught.value.param == param
        assert not it.engine.requests
        assert not it.of_kind("intent")


async def test_the_engines_refusal_arrives_in_its_words(tmp_path: Path) -> None:
    async with world(tmp_path) as it, client(it) as caller:
        it.engine.behaviour, it.engine.message = 400, "The model has no chat template."
        with pytest.raises(openai.BadRequestError, match="no chat template"):
            await caller.chat.completions.create(model="chat", messages=MESSAGES)
        it.engine.behaviour = "junk"
        with pytest.raises(openai.InternalServerError, match="makes no sense"):
            await caller.chat.completions.create(model="chat", messages=MESSAGES)
        assert [record["outcome"] for record in it.of_kind("completion")] == ["failed", "failed"]
