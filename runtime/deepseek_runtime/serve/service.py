"""A running engine: its ports, its threads and processes, until it is told to stop or something fails."""

import asyncio
import logging
import signal
from typing import Any

from aiohttp import web

from deepseek_runtime.job.status_server import StatusServer
from deepseek_runtime.serve import loading
from deepseek_runtime.serve.engine_thread import EngineThread
from deepseek_runtime.serve.http_api import HttpApi
from deepseek_runtime.serve.metrics import Metrics
from deepseek_runtime.serve.team import Team
from deepseek_runtime.wire.serve import ServeConfig

LOG = logging.getLogger(__name__)

DRAIN_SECONDS = 20.0
"""How long running requests may take to finish after SIGTERM."""

HANG_UP_SECONDS = 0.2
"""How long connections may take to close after that, or after a failure."""

STOP_SECONDS = 5.0
"""How long the engine's thread may take to end its last step."""


async def run(config: ServeConfig, team: Team) -> bool:
    """Serve until SIGTERM or SIGINT; whether every thread and process has ended. Raises what ended the engine.

    `team` has been started, so that its processes loaded torch meanwhile.
    """
    loop = asyncio.get_running_loop()
    told: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not told.done():
            told.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, tell)
    metrics = Metrics(config.served_name)
    with StatusServer("", config.credential, config.status_port) as status:
        status.register(metrics.registry)
        thread = EngineThread(lambda beat: loading.load(config, team, metrics, status, beat))
        api = HttpApi(config, thread, metrics)
        runner = web.AppRunner(api.app(), handler_cancellation=True, access_log=None, shutdown_timeout=HANG_UP_SECONDS)
        await runner.setup()
        try:
            # Without a credential anybody could ask: then only this machine can.
            await web.TCPSite(runner, None if config.credential else "127.0.0.1", config.port).start()
            LOG.info("engine starting: owner=%s model=%s port=%d", config.owner, config.served_name, config.port)
            thread.start()
            await _until_told(
                told, asyncio.wrap_future(thread.ended), asyncio.wrap_future(team.failed), config.tensor_parallel
            )
            LOG.info("engine stopping: active_requests=%d", api.active)
            await api.drain(DRAIN_SECONDS)
        finally:
            await runner.cleanup()
        if thread.loaded is not None:
            thread.loaded.chat.close()
        clean = await asyncio.to_thread(thread.stop, STOP_SECONDS)
        if clean:
            await asyncio.to_thread(team.stop)
        return clean


async def _until_told(
    told: "asyncio.Future[Any]", engine: "asyncio.Future[Any]", ranks: "asyncio.Future[Any]", world: int
) -> None:
    """Return when told to stop; raise when the engine or a rank fails."""
    await asyncio.wait([told, engine, ranks], return_when=asyncio.FIRST_COMPLETED)
    if engine.done() and world > 1:
        # What rank 0 sees of another rank's death is a broken connection: the cause comes from the watch.
        await asyncio.wait([ranks], timeout=1.0)
    for future in (ranks, engine):
        if future.done():
            future.result()
