"""What every request has around it: an id, errors in OpenAI's shape whatever happens, figures, an access log."""

import asyncio
import logging
import re
import secrets
import time

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from deepseek_runtime.gateway.access.caller import Caller
from deepseek_runtime.gateway.gateway import GATEWAY
from deepseek_runtime.gateway.openai.errors import ApiError

log = logging.getLogger(__name__)
access_log = logging.getLogger("deepseek_runtime.gateway.access_log")

REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)

_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
CLIENT_GONE = 499
"""nginx's status for a request whose sender went away; it is never sent."""


async def add_request_id(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler: streams send their headers before the middleware sees them again."""
    response.headers["x-request-id"] = request[REQUEST_ID]


@web.middleware
async def envelope(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Outermost middleware."""
    gateway = request.app[GATEWAY]
    given = request.headers.get("x-request-id", "")
    request[REQUEST_ID] = given if _ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"
    task = asyncio.current_task()
    if task is not None:
        gateway.in_flight.add(task)
    gateway.metrics.in_flight.inc()
    started = time.perf_counter()
    status = CLIENT_GONE
    try:
        response = await _answered(request, handler)
        status = response.status
        return response
    finally:
        if task is not None:
            gateway.in_flight.discard(task)
        gateway.metrics.in_flight.dec()
        _account(request, status, time.perf_counter() - started)


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiError as error:
        return error.response()
    except web.HTTPRequestEntityTooLarge:
        return too_large(request.app[GATEWAY].settings.max_body_bytes).response()
    except web.HTTPException as error:
        what = f"{request.method} {request.path[:256]}"
        message = f"Unknown request URL: {what}." if error.status == 404 else f"{what}: {error.reason}."
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return ApiError(
            error.status, "unknown_url" if error.status == 404 else None, message, headers=headers
        ).response()
    except Exception:  # the last line of defence: whoever called must get an answer, and no traceback
        log.exception("request %s", request[REQUEST_ID])
        return ApiError(500, "internal_error", "The gateway failed.", kind="api_error").response()


def too_large(limit: int) -> ApiError:
    """413."""
    return ApiError(413, "request_too_large", f"The body is longer than {limit} bytes.")


def _account(request: web.Request, status: int, seconds: float) -> None:
    metrics = request.app[GATEWAY].metrics
    endpoint = request.match_info.route.name or "other"
    metrics.requests.labels(endpoint, str(status)).inc()
    metrics.seconds.labels(endpoint).observe(seconds)
    level = logging.DEBUG if endpoint in {"live", "ready"} else logging.INFO
    if access_log.isEnabledFor(level):
        caller = request.get(CALLER)
        line = {
            "requestId": request[REQUEST_ID],
            "method": request.method,
            "path": request.path[:256],
            "user": caller.user if caller else None,
            "key": caller.key if caller else None,
            "status": status,
            "latencyMs": round(seconds * 1000, 3),
        }
        access_log.log(level, "%s", orjson.dumps(line).decode())
