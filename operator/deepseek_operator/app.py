"""Wiring: connection, lease, watches, workers and pullers in one process, and its end in good order."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any

import aiohttp
import uvloop

from deepseek_operator.api.names import FIELD_MANAGER, MODEL, SERVICE, TRAINING
from deepseek_operator.configuration import Configuration
from deepseek_operator.controllers.decision import Controller, Settings
from deepseek_operator.controllers.model import ModelController
from deepseek_operator.controllers.service import ServiceController
from deepseek_operator.controllers.training import TrainingController
from deepseek_operator.engine import connection as connections
from deepseek_operator.engine import errors
from deepseek_operator.engine.client import Client
from deepseek_operator.engine.connection import CONNECTIONS, Connection
from deepseek_operator.engine.health import Health
from deepseek_operator.engine.kinds import RESOURCES
from deepseek_operator.engine.lease import Lease
from deepseek_operator.engine.master_key import master_key
from deepseek_operator.engine.metrics import ConditionCollector, Metrics
from deepseek_operator.engine.pullers import ProgressPuller, WarningsPuller
from deepseek_operator.engine.queue import WorkQueue
from deepseek_operator.engine.reconcile import Reconciler
from deepseek_operator.engine.store import Store
from deepseek_operator.engine.sweep import Sweep
from deepseek_operator.engine.watch import Watches

log = logging.getLogger(__name__)

_RETRY = 5.0
_GRACE = 20.0
"""Seconds that reconciliations may take to end when the process is told to stop."""
_LEVELS = 12_000
"""The API server takes ten thousand levels of JSON, and json as many calls to read them: 3 MB of the stack's 8."""


def controllers() -> Mapping[str, Controller]:
    """The controller of each kind."""
    return {MODEL: ModelController(), TRAINING: TrainingController(), SERVICE: ServiceController()}


def now() -> datetime:
    """The clock of the process."""
    return datetime.now(UTC)


class Operator:
    """One process. `run` returns when it was told to stop, and raises when it cannot go on."""

    def __init__(
        self, configuration: Configuration, connection: Connection, controllers: Mapping[str, Controller]
    ) -> None:
        self._configuration = configuration
        self._connection = connection
        self._controllers = controllers
        self._namespace = configuration.namespace or connection.namespace or "default"
        self._metrics = Metrics()
        self._queue = WorkQueue(self._metrics)
        self._health = Health(self._metrics, self._queue)
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Wait for the lease, then lead until SIGTERM or SIGINT."""
        self._take_signals()
        configuration, server = self._configuration, self._connection.server
        close = await self._health.serve(configuration.health_port, configuration.metrics_port)
        try:
            async with self._connection.session(CONNECTIONS) as session:
                client = Client(session, server, self._metrics.count_requests(server.partition("://")[2]))
                lease = Lease(client, self._namespace, FIELD_MANAGER, self._identity(), now)
                if not await self._unless_stopped(self._prepare(client, lease)):
                    return
                leader = self._metrics.leader.labels(FIELD_MANAGER)
                leader.set(1)
                try:
                    await self._lead(client, lease)
                finally:
                    leader.set(0)
                    await lease.release()
        finally:
            await close()
        log.info("stopped")

    def _identity(self) -> str:
        """In a cluster the pod's name: a container that starts anew takes its own lease back without waiting for it."""
        name = socket.gethostname()
        return name if self._connection.token else f"{name}_{os.urandom(4).hex()}"

    async def _prepare(self, client: Client, lease: Lease) -> None:
        while True:
            try:
                missing = [kind.plural for kind in RESOURCES if not await client.serves(kind)]
            except errors.ApiError as error:
                log.warning("the API server does not answer as it should: %s", error)
            else:
                if not missing:
                    break
                log.warning("no CustomResourceDefinition for %s: install the chart, or crds/", ", ".join(missing))
            await asyncio.sleep(_RETRY)
        self._health.waiting_for = "the lease"
        await lease.acquire(self._stand_by)
        log.info("this process leads")
        self._health.waiting_for = "the first lists"

    def _stand_by(self) -> None:
        """A process that another one leads is as ready as it can be; a rollout waits for that."""
        self._health.waiting_for = None

    async def _lead(self, client: Client, lease: Lease) -> None:
        settings = await self._settings(client)
        queue, namespaces = self._queue, self._configuration.watch_namespaces
        store = Store(self._controllers, self._namespace, queue)
        self._metrics.registry.register(ConditionCollector(store.conditions))
        reconciler = Reconciler(client, store, queue, self._controllers, settings, self._metrics, now)
        sweep = Sweep(client, store, queue.add, self._namespace, namespaces)
        watches = Watches(self._connection, store, self._namespace, namespaces, sweep.relisted)
        workers: list[asyncio.Task[None]] = []
        async with asyncio.TaskGroup() as group, _pod_session() as pods:
            background = [
                group.create_task(coroutine)
                for coroutine in (
                    lease.renew(),
                    reconciler.recorder.run(),
                    ProgressPuller(store, pods, settings.master_key, now).run(),
                    WarningsPuller(client, store, queue.calm).run(),
                    sweep.run(),
                    sweep.catch_up(),
                    watches.run(),
                )
            ]
            if await self._unless_stopped(watches.synced.wait()):
                log.info("all watches are in step; %d resources", store.size)
                _keep_out_of_collections()
                self._health.waiting_for = None
                workers += [group.create_task(reconciler.work()) for _ in range(self._configuration.workers)]
                await self._stop.wait()
            log.info("stopping")
            self._health.waiting_for = "the end"
            queue.stop()
            if workers:
                await asyncio.wait(workers, timeout=_GRACE)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reconciler.recorder.flush(), timeout=2)
            for task in (*workers, *background):
                task.cancel()
            await lease.release()

    async def _settings(self, client: Client) -> Settings:
        configuration, namespace = self._configuration, self._namespace
        gateway = f"http://deepseek-gateway.{namespace}.svc.{configuration.cluster_domain}"
        return Settings(
            namespace=namespace,
            runtime_image=configuration.runtime_image,
            gateway_url=configuration.gateway_url or gateway,
            master_key=await master_key(client, namespace),
            image_pull_policy=configuration.image_pull_policy,
            cluster_domain=configuration.cluster_domain,
            network_policies=configuration.network_policies,
            fetch_networks=configuration.fetch_networks,
            price_sheet=configuration.price_sheet,
        )

    async def _unless_stopped(self, work: Coroutine[Any, Any, object]) -> bool:
        """Do the work, or drop it when the process is told to stop; whether it was done."""
        task, stopped = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
                return True
            return False
        finally:
            task.cancel()
            stopped.cancel()

    def _take_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)


def _pod_session() -> aiohttp.ClientSession:
    """For pods: no credentials of the API server, no proxy, no cookies."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS, force_close=True), cookie_jar=aiohttp.DummyCookieJar()
    )


def _keep_out_of_collections() -> None:
    """What is there now stays, and a full collection that looks at all of it holds everything up.

    Afterwards little is made that refers to itself: a look for it after every 700 objects would be work for nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


def start(configuration: Configuration) -> None:
    """Run the operator in an event loop of its own."""
    sys.setrecursionlimit(_LEVELS)
    uvloop.run(Operator(configuration, connections.discover(), controllers()).run())
