"""Probes and metrics over HTTP, on a port of their own each."""

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from deepseek_operator.engine.metrics import Metrics
from deepseek_operator.engine.queue import WorkQueue

STUCK = 300.0
"""Seconds after which work on one resource is taken for hung, and the process for in need of a restart."""


class Health:
    """What the probes answer. A process that waits for the lease is ready: it could do no better."""

    def __init__(self, metrics: Metrics, queue: WorkQueue) -> None:
        self._metrics = metrics
        self._queue = queue
        self.waiting_for: str | None = "the API server"

    async def serve(self, health_port: int, metrics_port: int, host: str = "") -> Callable[[], Awaitable[None]]:
        """Listen, on all addresses of the pod unless told otherwise; returns the function that ends it."""
        probes, metrics = web.Application(), web.Application()
        probes.add_routes([web.get("/healthz", self._healthz), web.get("/readyz", self._readyz)])
        metrics.add_routes([web.get("/metrics", self._show_metrics)])
        runners = [web.AppRunner(app, access_log=None) for app in (probes, metrics)]
        for runner, port in zip(runners, (health_port, metrics_port), strict=True):
            await runner.setup()
            await web.TCPSite(runner, host or None, port).start()

        async def close() -> None:
            for runner in runners:
                await runner.cleanup()

        return close

    async def _healthz(self, _: web.Request) -> web.Response:
        age = self._queue.longest_running()
        if age > STUCK:
            return web.Response(status=500, text=f"work on one resource has been going on for {age:.0f} s\n")
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        if self.waiting_for:
            return web.Response(status=503, text=f"waiting for {self.waiting_for}\n")
        return web.Response(text="ok\n")

    async def _show_metrics(self, _: web.Request) -> web.Response:
        self._queue.longest_running()
        return web.Response(body=generate_latest(self._metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
