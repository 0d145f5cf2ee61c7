"""One forwarded request, from the intent to its completion, whole or as a stream."""

import asyncio
import logging
from contextlib import aclosing, suppress

import orjson
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deepseek_runtime.gateway.account import CANCELLED, COMPLETED, FAILED, INTERRUPTED, Account
from deepseek_runtime.gateway.envelope import CLIENT_GONE
from deepseek_runtime.gateway.forward import timed_out
from deepseek_runtime.gateway.gateway import Gateway
from deepseek_runtime.gateway.openai.answer import Answer, ChatAnswer, EngineReportedError, MalformedAnswerError
from deepseek_runtime.gateway.openai.chat_request import ChatRequest
from deepseek_runtime.gateway.openai.errors import ApiError, bad_upstream, unavailable
from deepseek_runtime.gateway.openai.request import SamplingRequest
from deepseek_runtime.gateway.openai.sse import DONE, SIGN_OF_LIFE, event
from deepseek_runtime.wire.route import Route

log = logging.getLogger(__name__)

_LAST_WORDS_SECONDS = 5.0


class Relay:
    """Every way out of `run` has written a completion, or the log itself has failed."""

    def __init__(
        self,
        request: web.Request,
        gateway: Gateway,
        account: Account,
        route: Route,
        key: Ed25519PrivateKey,
        wanted: SamplingRequest,
    ) -> None:
        self._request = request
        self._gateway = gateway
        self._account = account
        self._route = route
        self._key = key
        self._wanted = wanted
        answer = ChatAnswer if isinstance(wanted, ChatRequest) else Answer
        self._answer = answer(account.request_id, wanted.model, wanted.wants_usage)
        self._response: web.StreamResponse | None = None

    async def run(self) -> web.StreamResponse:
        """The answer; errors: ApiError while nothing of it is sent, CancelledError where the caller is gone."""
        failure: ApiError | None = None
        whole = b""
        try:
            await self._account.intent(self._route, self._wanted)
            async with asyncio.timeout(self._gateway.settings.request_timeout_seconds):
                if self._wanted.stream:
                    await self._stream()
                else:
                    whole = await self._whole()
        except ApiError as error:
            failure = error
        except TimeoutError:
            failure = timed_out()
        except MalformedAnswerError as error:
            failure = bad_upstream(f"The engine's answer makes no sense: {error}.")
        except EngineReportedError as error:
            failure = bad_upstream(f"The engine failed: {error}")
        except (asyncio.CancelledError, ConnectionResetError):
            return await self._finish(b"", await self._ended_from_outside())
        except Exception:  # the last resort: what was let through must have a completion, and a stream an end
            log.exception("request %s", self._account.request_id)
            failure = bad_upstream("The gateway failed to pass on the engine's answer.")
        if failure is None:
            failure = await self._record(COMPLETED, 200)
        else:
            failure = await self._record(FAILED, failure.status, failure.code) or failure
        return await self._finish(whole, failure)

    async def _whole(self) -> bytes:
        body = self._wanted.forwarded(self._route.served_name)
        return self._answer.whole(
            await self._gateway.engines.complete(
                self._route, self._key, self._wanted.endpoint, body, self._account.request_id
            )
        )

    async def _stream(self) -> None:
        body = self._wanted.forwarded(self._route.served_name)
        engines = self._gateway.engines
        async with (
            engines.stream(self._route, self._key, self._wanted.endpoint, body, self._account.request_id) as stream,
            aclosing(stream) as batches,
        ):
            headers = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
            self._response = web.StreamResponse(headers=headers)
            await self._response.prepare(self._request)
            async for batch in batches:
                chunks = [chunk for data in batch if (chunk := self._answer.chunk(data)) is not None]
                if chunks:
                    await self._response.write(b"".join(map(event, chunks)))
                elif not batch:
                    await self._response.write(SIGN_OF_LIFE)

    async def _ended_from_outside(self) -> ApiError:
        """The caller went away, or the gateway stops; errors: CancelledError for the caller that is gone."""
        transport = self._request.transport
        if not self._gateway.draining or transport is None or transport.is_closing():
            await self._record(CANCELLED, CLIENT_GONE)
            raise asyncio.CancelledError
        if (task := asyncio.current_task()) is not None:
            task.uncancel()  # the cancellation was ours, and there is somebody to say it to
        await self._record(INTERRUPTED, 503, "shutting_down")
        return unavailable("The gateway is shutting down; try again.", "shutting_down", 1)

    async def _record(self, outcome: str, status: int, error: str | None = None) -> ApiError | None:
        try:
            await self._account.completion(outcome, status, self._answer, error)
        except ApiError as failed:
            return failed
        return None

    async def _finish(self, whole: bytes, failure: ApiError | None) -> web.StreamResponse:
        if self._response is None:
            if failure is not None:
                raise failure
            return web.Response(body=whole, content_type="application/json")
        last = DONE if failure is None else orjson.dumps(failure.document())
        with suppress(ConnectionResetError, TimeoutError):  # whoever does not read any more need not hear it
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                await self._response.write(event(last))
                await self._response.write_eof()
        return self._response
