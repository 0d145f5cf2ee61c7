"""The two servers, and the life of the process: start, serve, drain."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from deepseek_runtime.gateway import completions, health, models
from deepseek_runtime.gateway.envelope import add_request_id, envelope
from deepseek_runtime.gateway.gateway import GATEWAY, Gateway, assemble
from deepseek_runtime.gateway.kube.routes import RouteWatcher
from deepseek_runtime.gateway.openai.chat_request import ChatRequest
from deepseek_runtime.gateway.openai.request import CompletionRequest
from deepseek_runtime.gateway.settings import Address, Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Running:
    """The gateway and the ports that its servers have."""

    gateway: Gateway
    port: int
    metrics_port: int


def api(gateway: Gateway) -> web.Application:
    """Everything that people call."""
    app = web.Application(middlewares=[envelope], client_max_size=gateway.settings.max_body_bytes)
    app[GATEWAY] = gateway
    app.on_response_prepare.append(add_request_id)
    app.router.add_post(CompletionRequest.endpoint, completions.create_completion, name="completions")
    app.router.add_post(ChatRequest.endpoint, completions.create_chat_completion, name="chat_completions")
    app.router.add_get("/v1/models", models.list_models, name="models", allow_head=False)
    app.router.add_get("/v1/models/{id:.+}", models.get_model, name="model", allow_head=False)
    app.router.add_get("/health/live", health.live, name="live")
    app.router.add_get("/health/ready", health.ready, name="ready")
    return app


def metrics(gateway: Gateway) -> web.Application:
    """What Prometheus calls, on a port of its own."""

    async def expose(_: web.Request) -> web.Response:
        gateway.metrics.routes.set(len(gateway.routes))
        gateway.metrics.audit_writable.set(gateway.audit.writable)
        return web.Response(body=gateway.metrics.exposition(), content_type="text/plain", charset="utf-8")

    app = web.Application()
    app.router.add_get("/metrics", expose)
    return app


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """A gateway that serves; leaving the block drains it. The death of any of its tasks ends the block."""
    async with assemble(settings) as gateway, asyncio.TaskGroup() as tasks:
        watcher = tasks.create_task(RouteWatcher(gateway.kubernetes, settings.namespace, gateway.routes).run())
        tasks.create_task(gateway.audit.run())
        runner = web.AppRunner(
            api(gateway), handler_cancellation=True, auto_decompress=False, access_log=None, shutdown_timeout=1
        )
        metrics_runner = web.AppRunner(metrics(gateway), access_log=None, shutdown_timeout=1)
        try:
            port = await _listen(runner, settings.listen)
            metrics_port = await _listen(metrics_runner, settings.metrics_listen)
            log.info("listening on port %d, metrics on port %d", port, metrics_port)
            yield Running(gateway, port, metrics_port)
            await _drain(gateway)
        finally:
            await runner.cleanup()
            await metrics_runner.cleanup()
            watcher.cancel()
            gateway.audit.close()


async def serve(settings: Settings) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings):
        await stop.wait()
        log.info("told to stop")


async def _listen(runner: web.AppRunner, address: Address) -> int:
    await runner.setup()
    await web.TCPSite(runner, address.host, address.port, backlog=1024).start()
    return int(runner.addresses[0][1])


async def _drain(gateway: Gateway) -> None:
    """Not ready at once; go on accepting until everybody knows; let requests finish; end those that do not."""
    gateway.draining = True
    await asyncio.sleep(gateway.settings.shutdown_delay_seconds)
    if gateway.in_flight:
        log.info("waiting for %d requests", len(gateway.in_flight))
        await asyncio.wait(gateway.in_flight, timeout=gateway.settings.drain_seconds)
    for task in (unfinished := set(gateway.in_flight)):
        task.cancel()
    if unfinished:
        log.warning("%d requests are ended before they are done", len(unfinished))
        await asyncio.wait(unfinished, timeout=5)
