"""An engine on loopback that says what it is told to, and remembers what it was asked."""

import asyncio
import json
from typing import Any

from aiohttp import web
from deepseek_runtime.wire import credential
from deepseek_runtime.wire.proof import RefusedError, Verifier, check_body

MASTER = b"m" * 32
WORDS = ("Die", " Antwort", " ist", " 四十二", " 🙂")

SCORE = {"token": "a", "logprob": -0.5, "bytes": [97], "id": 5}


class FakeEngine:
    """`behaviour`: words, slow, quiet (before the first), linger (after [DONE]), or a status.

    Or die, error, hang or junk, each after two words.
    """

    def __init__(self) -> None:
        self.behaviour: str | int = "words"
        self.message = "engine says no"
        self.code: str | None = None
        self.last_choice: dict[str, Any] = {}  # what is other than it should be in the choice that ends an answer
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._verifiers: dict[str, Verifier] = {}
        self.cancelled = asyncio.Event()
        self.reached = asyncio.Event()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/completions", self._complete)
        app.router.add_post("/v1/chat/completions", self._complete)
        return app

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        namespace, service = body["model"].split("-")[0:2] if body["model"].count("-") == 1 else ("team-a", "chat")
        workload = f"InferenceService/{namespace}/{service}/uid-{namespace}-{service}"
        verifier = self._verifiers.setdefault(workload, Verifier(credential.public_key(MASTER, workload)))
        try:
            digest = verifier.check("POST", request.raw_path, request.headers.get("Authorization"))
            check_body(digest, await request.read())
        except RefusedError as error:
            return web.json_response({"error": {"message": str(error)}}, status=401)
        self.reached.set()
        if isinstance(self.behaviour, int):
            error = {"message": self.message, "type": "invalid_request_error", "param": "seed", "code": self.code}
            return web.json_response({"error": error}, status=self.behaviour)
        try:
            return await (self._stream(request) if body.get("stream") else self._whole(request))
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def _whole(self, request: web.Request) -> web.Response:
        if self.behaviour == "hang":
            await asyncio.sleep(60)
        if self.behaviour == "junk":
            return web.Response(text="<html>")
        answer = {**_chunk(request, "".join(WORDS), "stop", "message"), "usage": _usage(), "secret": "internal"}
        answer["choices"][0] |= self.last_choice
        return web.json_response(answer)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if self.behaviour == "quiet":
            for _ in range(4):
                await asyncio.sleep(0.2)
                await response.write(b":\n\n")
        for number, word in enumerate(WORDS):
            if self.behaviour == "slow":
                await asyncio.sleep(0.3)
            elif number == 2 and self.behaviour not in {"words", "linger", "quiet"}:
                return await self._misbehave(request, response)
            last = number == len(WORDS) - 1
            chunk = {**_chunk(request, word, "stop" if last else None), "usage": None}
            if last:
                chunk["choices"][0] |= self.last_choice
            await response.write(_event(chunk))
        await response.write(_event({**_chunk(request, "", None), "choices": [], "usage": _usage()}))
        await response.write(b"data: [DONE]\n\n")
        if self.behaviour == "linger":
            await asyncio.sleep(60)
        return response

    async def _misbehave(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        if self.behaviour == "error":
            await response.write(_event({"error": {"message": self.message}}))
        elif self.behaviour == "junk":
            await response.write(b"data: <html>\n\n")
        elif self.behaviour == "hang":
            await asyncio.sleep(60)
        elif request.transport is not None:
            request.transport.abort()
        return response


def _chunk(request: web.Request, text: str, reason: str | None, part: str = "delta") -> dict[str, Any]:
    choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": reason, "token_ids": [1]}
    if "chat" in request.path:
        said = {"content": text, "reasoning_content": "internal"}
        if part == "message" or text == WORDS[0]:
            said["role"] = "assistant"
        choice |= {part: said, "logprobs": {"content": [{**SCORE, "top_logprobs": [SCORE]}], "hidden": 1}}
    else:
        choice["text"] = text
    return {"id": "engine-1", "object": "text_completion", "created": 1, "model": "internal", "choices": [choice]}


def _usage() -> dict[str, int]:
    return {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"
