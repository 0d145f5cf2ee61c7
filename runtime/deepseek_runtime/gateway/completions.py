"""POST /v1/completions and /v1/chat/completions: who, may they, write it down, forward, write down how it ended."""

import asyncio

from aiohttp import web

from deepseek_runtime.gateway.access.authorize import missing_role_binding
from deepseek_runtime.gateway.account import Account
from deepseek_runtime.gateway.envelope import REQUEST_ID, too_large
from deepseek_runtime.gateway.forward import not_ready
from deepseek_runtime.gateway.gateway import GATEWAY
from deepseek_runtime.gateway.models import authenticate, resolve
from deepseek_runtime.gateway.openai.chat_request import ChatRequest
from deepseek_runtime.gateway.openai.errors import ApiError, invalid, model_not_found
from deepseek_runtime.gateway.openai.request import CompletionRequest, SamplingRequest, check_length, parse
from deepseek_runtime.gateway.openai.strict_json import parse_object
from deepseek_runtime.gateway.relay import Relay
from deepseek_runtime.wire.route import Route

_BODY_SECONDS = 30.0


async def create_completion(request: web.Request) -> web.StreamResponse:
    """A text that goes on."""
    return await _create(request, CompletionRequest)


async def create_chat_completion(request: web.Request) -> web.StreamResponse:
    """The next message of a conversation."""
    return await _create(request, ChatRequest)


async def _create(request: web.Request, kind: type[SamplingRequest]) -> web.StreamResponse:
    """The steps in their order; each may end the request with an ApiError."""
    gateway = request.app[GATEWAY]
    account = Account(gateway.audit, gateway.metrics, request[REQUEST_ID], await authenticate(request))
    wanted = parse(kind, parse_object(await _body(request)))
    route = await _authorized(request, account, wanted)
    check_length(wanted, route.context_length)
    if not route.ready:
        raise not_ready(route)
    key = gateway.engines.key(route)
    return await Relay(request, gateway, account, route, key, wanted).run()


async def _body(request: web.Request) -> bytes:
    limit = request.app[GATEWAY].settings.max_body_bytes
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise ApiError(415, None, "The body must not be compressed: leave out Content-Encoding.")
    if (request.content_length or 0) > limit:
        raise too_large(limit)
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        raise ApiError(408, None, f"The body did not arrive within {_BODY_SECONDS:.0f} seconds.") from None
    except web.RequestPayloadError as error:
        raise invalid(f"The body did not arrive whole: {error}.") from None


async def _authorized(request: web.Request, account: Account, wanted: SamplingRequest) -> Route:
    gateway, caller = request.app[GATEWAY], account.caller
    namespace, service = resolve(wanted.model, caller)
    # Asked also for a service that is not there: to a stranger it must look, and last, the same.
    account.decision = await gateway.authorizer.authorize(caller, namespace, service)
    route = gateway.routes.find(namespace, service)
    if not account.decision.allowed:
        await account.denied(namespace, service)
        if route is not None and namespace == caller.namespace:
            raise missing_role_binding(caller, namespace, service)
    if route is None or not account.decision.allowed:
        raise model_not_found(wanted.model)
    return route
