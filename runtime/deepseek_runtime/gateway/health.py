"""Liveness and readiness."""

import orjson
from aiohttp import web

from deepseek_runtime.gateway.gateway import GATEWAY, Gateway


async def live(_: web.Request) -> web.Response:
    """The event loop turns; the death of any part ends the process."""
    return web.Response(text="ok")


async def ready(request: web.Request) -> web.Response:
    """200, or 503 with what is missing."""
    missing = not_ready_because(request.app[GATEWAY])
    body = orjson.dumps({"ready": not missing, "missing": missing})
    return web.Response(status=503 if missing else 200, body=body, content_type="application/json")


def not_ready_because(gateway: Gateway) -> list[str]:
    """Sentences; empty when requests can be answered."""
    missing = []
    if gateway.draining:
        missing.append("The gateway is shutting down.")
    if not gateway.routes.synced:
        missing.append("The routes have not been listed yet.")
    if not gateway.audit.writable:
        missing.append("The audit log cannot be written.")
    try:
        gateway.master_key.read()
    except OSError as error:
        missing.append(f"The master key cannot be read: {error}")
    return missing
