"""The engine's HTTP API: completions of texts and chats, the model list and health, with OpenAI's errors."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from deepseek_runtime.gateway.openai import sse
from deepseek_runtime.gateway.openai.chat_request import ChatRequest
from deepseek_runtime.gateway.openai.errors import ApiError, model_not_found, unavailable
from deepseek_runtime.gateway.openai.request import CompletionRequest, R, SamplingRequest, parse
from deepseek_runtime.gateway.openai.strict_json import parse_object
from deepseek_runtime.serve import chat_completion, text_completion
from deepseek_runtime.serve.engine import Delta
from deepseek_runtime.serve.engine_thread import EngineThread, Loaded
from deepseek_runtime.serve.metrics import Metrics
from deepseek_runtime.serve.protocol import Prepared, Writer, engine_request
from deepseek_runtime.wire.proof import SCHEME, RefusedError, Verifier, check_body
from deepseek_runtime.wire.serve import ServeConfig

MAX_BODY_BYTES = 8 * 1024 * 1024
QUEUE_FACTOR = 4
"""Requests that may wait, for every one that can run; more are refused, as waiting longer helps nobody."""

QUIET_SECONDS = 15.0
"""A stream with nothing to say for so long says that it lives: the gateway and other proxies give a silent one up."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpApi:
    """Handlers over one engine. `draining` refuses new requests; `active` counts those that are being answered."""

    def __init__(self, config: ServeConfig, thread: EngineThread, metrics: Metrics) -> None:
        self._config = config
        self._thread = thread
        self._metrics = metrics
        self._verifier = Verifier(config.credential) if config.credential is not None else None
        self._started = int(time.time())
        self.draining = False
        self.active = 0
        self._idle = asyncio.Event()

    async def drain(self, seconds: float) -> None:
        """Take no new requests and wait for those that run, but no longer than this."""
        self.draining = True
        if self.active:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), seconds)

    def app(self) -> web.Application:
        """The application; serve it with `handler_cancellation`, so that a client that leaves ends its request."""
        app = web.Application(middlewares=[_errors, self._authenticate], client_max_size=MAX_BODY_BYTES)
        app.router.add_post(CompletionRequest.endpoint, self.completions)
        app.router.add_post(ChatRequest.endpoint, self.chat_completions)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/health/live", self.live)
        app.router.add_get("/health/ready", self.ready)
        return app

    async def live(self, request: web.Request) -> web.Response:
        """200 while this loop and the engine's give signs of life."""
        if self._thread.alive:
            return web.Response(text="alive\n")
        return web.Response(text="the engine's loop gives no sign of life\n", status=503)

    async def ready(self, request: web.Request) -> web.Response:
        """200 once a token has been generated, while the engine lives and takes requests."""
        if self._thread.loaded is not None and self._thread.alive and not self.draining:
            return web.Response(text="ready\n")
        return web.Response(text="draining\n" if self.draining else "loading\n", status=503)

    async def models(self, request: web.Request) -> web.Response:
        """The one model there is."""
        model = {
            "id": self._config.served_name,
            "object": "model",
            "created": self._started,
            "owned_by": "deepseek-operator",
        }
        return web.json_response({"object": "list", "data": [model]})

    async def completions(self, request: web.Request) -> web.StreamResponse:
        """OpenAI's text completion, whole or as a stream."""
        return await self._answer(request, CompletionRequest, text_completion.prepare)

    async def chat_completions(self, request: web.Request) -> web.StreamResponse:
        """OpenAI's chat completion, whole or as a stream."""
        return await self._answer(request, ChatRequest, chat_completion.prepare)

    async def _answer(
        self, request: web.Request, kind: type[R], prepare: Callable[[R, Loaded, str], Prepared]
    ) -> web.StreamResponse:
        body = await request.read()
        loaded = self._admit()
        asked = parse(kind, parse_object(body))
        if asked.model != self._config.served_name:
            raise model_not_found(asked.model, f" This engine serves {self._config.served_name!r}.")
        self.active += 1
        self._idle.clear()
        try:
            prepared = await asyncio.to_thread(prepare, asked, loaded, self._config.served_name)
            async with self._generate(asked, prepared) as deltas:
                if asked.stream:
                    return await _stream(request, prepared.writer, deltas, asked.wants_usage)
                return _json(prepared.writer.whole([delta async for delta in deltas if delta is not None]))
        finally:
            self.active -= 1
            if not self.active:
                self._idle.set()

    def _admit(self) -> Loaded:
        loaded = self._thread.loaded
        if self.draining:
            raise unavailable("This engine is shutting down; another one takes over.", "shutting_down", 1)
        if loaded is None:
            raise unavailable("The model is still being loaded.", "loading", 5)
        if self.active >= self._config.max_sequences * (1 + QUEUE_FACTOR):
            raise unavailable(f"{self.active} requests are running or waiting; try again later.", "overloaded", 1)
        return loaded

    @asynccontextmanager
    async def _generate(self, asked: SamplingRequest, prepared: Prepared) -> AsyncIterator[AsyncIterator[Delta | None]]:
        """The answer's deltas; leaving early, for whatever reason, frees the request's place and its blocks.

        None stands for QUIET_SECONDS without any while the engine lives.
        """
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Delta] = asyncio.Queue()
        request = engine_request(asked, prepared, lambda d: _call(loop, queue.put_nowait, d))

        async def deltas() -> AsyncIterator[Delta | None]:
            while True:
                try:
                    async with asyncio.timeout(QUIET_SECONDS):
                        delta = await queue.get()
                except TimeoutError:
                    if self._thread.alive:
                        yield None
                    continue
                yield delta
                if delta.finish_reason is not None:
                    return

        self._metrics.accepted(len(prepared.prompt))
        self._thread.submit(request)
        try:
            yield deltas()
        finally:
            self._thread.cancel(request)

    @web.middleware
    async def _authenticate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._verifier is not None and not request.path.startswith("/health/"):
            try:
                digest = self._verifier.check(request.method, request.raw_path, request.headers.get("Authorization"))
                check_body(digest, await request.read())
            except RefusedError as error:
                message = f"This engine takes requests from the gateway only. {error}"
                headers = {"WWW-Authenticate": SCHEME}
                raise ApiError(HTTPStatus.UNAUTHORIZED, "invalid_proof", message, headers=headers) from error
        return await handler(request)


async def _stream(
    request: web.Request, writer: Writer, deltas: AsyncIterator[Delta | None], wants_usage: bool
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    await _write(response, writer.opening())
    last: Delta | None = None
    async for delta in deltas:
        if delta is None:
            await response.write(sse.SIGN_OF_LIFE)
            continue
        last = delta
        await _write(response, writer.chunks(delta))
    if wants_usage and last is not None:
        await _write(response, [writer.usage_chunk(last)])
    await response.write(sse.event(sse.DONE))
    await response.write_eof()
    return response


async def _write(response: web.StreamResponse, events: list[dict[str, Any]]) -> None:
    if events:
        await response.write(b"".join(sse.event(orjson.dumps(event)) for event in events))


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal is OpenAI's error object, those of the HTTP layer too."""
    try:
        return await handler(request)
    except ApiError as error:
        return error.response()
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        there = f"{CompletionRequest.endpoint}, {ChatRequest.endpoint} and /v1/models"
        messages = {
            404: f"{request.path} does not exist. There are {there}.",
            405: f"{request.method} is not allowed on {request.path}.",
            413: f"The body is longer than {MAX_BODY_BYTES} bytes.",
        }
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return ApiError(error.status, None, messages.get(error.status, error.reason), headers=headers).response()


def _json(document: dict[str, object]) -> web.Response:
    return web.Response(body=orjson.dumps(document), content_type="application/json")


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[Delta], None], delta: Delta) -> None:
    """Run a function on the loop; at the very end of the process the loop may already be closed."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, delta)
