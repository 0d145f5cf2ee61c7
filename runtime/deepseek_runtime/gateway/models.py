"""Names of models, and the list of those that a caller may use."""

import asyncio

import orjson
from aiohttp import web

from deepseek_runtime.gateway.access.caller import Caller
from deepseek_runtime.gateway.access.names import is_label
from deepseek_runtime.gateway.envelope import CALLER
from deepseek_runtime.gateway.gateway import GATEWAY, Gateway
from deepseek_runtime.gateway.openai.errors import model_not_found
from deepseek_runtime.wire.route import Route

_QUESTIONS_AT_ONCE = 16


def resolve(model: str, caller: Caller) -> tuple[str, str]:
    """Namespace and service of `[namespace/]service`; errors: ApiError 404."""
    namespace, slash, service = model.rpartition("/")
    if not slash:
        if caller.namespace is None:
            raise model_not_found(model, f" {caller.user} has no namespace of its own: write NAMESPACE/SERVICE.")
        namespace = caller.namespace
    if not is_label(namespace) or not is_label(service):
        raise model_not_found(model, " A model is named [NAMESPACE/]SERVICE.")
    return namespace, service


async def list_models(request: web.Request) -> web.Response:
    """GET /v1/models."""
    gateway = request.app[GATEWAY]
    caller = await authenticate(request)
    questions = asyncio.Semaphore(_QUESTIONS_AT_ONCE)

    async def allowed(route: Route) -> bool:
        async with questions:
            return (await gateway.authorizer.authorize(caller, route.namespace, route.service)).allowed

    routes = gateway.routes.all()
    answers = await asyncio.gather(*(allowed(route) for route in routes))
    data = [
        _entry(route, f"{route.namespace}/{route.service}") for route, yes in zip(routes, answers, strict=True) if yes
    ]
    return _json({"object": "list", "data": data})


async def get_model(request: web.Request) -> web.Response:
    """GET /v1/models/{id}."""
    gateway = request.app[GATEWAY]
    caller = await authenticate(request)
    model = request.match_info["id"]
    namespace, service = resolve(model, caller)
    decision = await gateway.authorizer.authorize(caller, namespace, service)
    route = gateway.routes.find(namespace, service)
    if route is None or not decision.allowed:
        raise model_not_found(model)
    return _json(_entry(route, model))


async def authenticate(request: web.Request) -> Caller:
    """Who sends this request, remembered for the access log; errors: ApiError 401, 503."""
    gateway: Gateway = request.app[GATEWAY]
    caller = await gateway.authenticator.authenticate(request.headers.get("Authorization"))
    request[CALLER] = caller
    return caller


def _entry(route: Route, name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": route.created, "owned_by": route.namespace}


def _json(document: dict[str, object]) -> web.Response:
    return web.Response(body=orjson.dumps(document), content_type="application/json")
