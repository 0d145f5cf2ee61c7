"""The engine's side of a request: the proof that it comes from here, and failures in the caller's terms."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Self

import aiohttp
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deepseek_runtime.gateway.files import MasterKey
from deepseek_runtime.gateway.openai.errors import ApiError, bad_upstream, unavailable
from deepseek_runtime.gateway.openai.sse import DONE, SIGN_OF_LIFE, EventParser, EventTooLongError
from deepseek_runtime.wire import credential
from deepseek_runtime.wire.proof import prove
from deepseek_runtime.wire.route import Route

log = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 16 * 1024 * 1024
_TAIL_SECONDS = 0.5
_PASSED_ON = {400, 413, 422, 429}


def not_ready(route: Route) -> ApiError:
    """503: the service is there, but nothing of it can answer now."""
    return unavailable(f"The model {route.namespace}/{route.service} is not ready; try again.", "model_not_ready")


class EngineClient:
    """One session for all engines; use with `async with`."""

    def __init__(self, master_key: MasterKey, connect_seconds: float, idle_seconds: float) -> None:
        self._master_key = master_key
        self._connect_seconds = connect_seconds
        self._idle_seconds = idle_seconds
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=2),  # a Service made anew has another address
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "deepseek-gateway", "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    def key(self, route: Route) -> Ed25519PrivateKey:
        """What requests to the route's workload are signed with; errors: ApiError 503 without a master key."""
        try:
            return credential.private_key(self._master_key.read(), route.workload)
        except OSError as error:
            log.warning("master key: %s", error)
            raise unavailable("The gateway has no master key yet; try again.", "gateway_not_ready") from error

    async def complete(self, route: Route, key: Ed25519PrivateKey, path: str, body: bytes, request_id: str) -> bytes:
        """The whole answer; errors: ApiError."""
        async with self._answer(route, key, path, body, request_id, None) as answer:
            content = bytearray()
            try:
                async for chunk in answer.content.iter_any():
                    content += chunk
                    if len(content) > MAX_ANSWER_BYTES:
                        raise bad_upstream("The engine's answer is too long.")
            except (aiohttp.ClientError, OSError) as error:
                raise _died(route, error) from error
            return bytes(content)

    @asynccontextmanager
    async def stream(
        self, route: Route, key: Ed25519PrivateKey, path: str, body: bytes, request_id: str
    ) -> AsyncIterator[AsyncGenerator[list[bytes], None]]:
        """The data of events, in lists as they arrive, up to [DONE]; an empty list is a sign of life.

        Errors: ApiError, also while iterating.
        """
        async with self._answer(route, key, path, body, request_id, self._idle_seconds) as answer:
            yield _events(route, answer)

    @asynccontextmanager
    async def _answer(
        self, route: Route, key: Ed25519PrivateKey, path: str, body: bytes, request_id: str, read_seconds: float | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise RuntimeError("EngineClient is used outside of `async with`")
        request = self._session.post(
            f"{route.url.rstrip('/')}{path}",
            data=body,
            headers={
                "Authorization": prove(key, "POST", path, body, time.time()),
                "Content-Type": "application/json",
                "x-request-id": request_id,
            },
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_seconds, sock_read=read_seconds),
            allow_redirects=False,
        )
        try:
            answer = await request
        except aiohttp.SocketTimeoutError as error:
            raise _died(route, error) from error
        except (aiohttp.ClientError, OSError) as error:
            log.warning("engine %s/%s: %s", route.namespace, route.service, error or type(error).__name__)
            raise not_ready(route) from error
        try:
            if answer.status != 200:
                raise await _refused(route, answer)
            yield answer
        finally:
            answer.close()  # unless the answer was read to its end this ends the connection, and so the engine's work


async def _events(route: Route, answer: aiohttp.ClientResponse) -> AsyncGenerator[list[bytes], None]:
    parser = EventParser()
    try:
        async for chunk in answer.content.iter_any():
            events = parser.feed(chunk)
            if DONE in events:
                yield events[: events.index(DONE)]
                with suppress(aiohttp.ClientError, OSError):  # the answer is whole; this only saves a connection
                    async with asyncio.timeout(_TAIL_SECONDS):
                        await answer.content.read(1)
                return
            if events or chunk.startswith(SIGN_OF_LIFE):  # one for several that come at once is enough
                yield events
    except (aiohttp.ClientError, OSError, EventTooLongError) as error:
        raise _died(route, error) from error
    raise _died(route, None)


def _died(route: Route, error: Exception | None) -> ApiError:
    log.warning("engine %s/%s: %s", route.namespace, route.service, repr(error) if error else "the stream ended early")
    if isinstance(error, TimeoutError):
        return timed_out()
    return bad_upstream("The engine ended before its answer was complete.", code="upstream_interrupted")


def timed_out() -> ApiError:
    """504: nothing came for too long, or the whole took too long."""
    return bad_upstream("The engine took too long to answer.", status=504, code="upstream_timeout")


async def _refused(route: Route, answer: aiohttp.ClientResponse) -> ApiError:
    """The engine's own words where they concern the request; where they concern the engine, the gateway's."""
    status = answer.status
    try:
        error = orjson.loads(await answer.content.read(64 * 1024))["error"]
        message, kind = str(error["message"])[:2048], str(error.get("type") or "invalid_request_error")[:64]
        param, code = (
            str(value)[:64] if (value := error.get(name)) is not None else None for name in ("param", "code")
        )
    except (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError, AttributeError):
        message, kind, param, code = f"The engine refused the request with status {status}.", "api_error", None, None
    if status in _PASSED_ON:
        headers = {"Retry-After": "1"} if status == 429 else None
        return ApiError(status, code, message, kind=kind, param=param, headers=headers)
    log.warning("engine %s/%s answered %d: %s", route.namespace, route.service, status, message)
    if status == 503:
        return not_ready(route)
    if status in {401, 403}:
        return bad_upstream("The engine does not accept that this comes from the gateway.", code="upstream_credential")
    return bad_upstream("The engine failed.")
