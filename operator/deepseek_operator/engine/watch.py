"""The watches: kopf lists, watches and reconnects; its handlers do nothing but feed the store.

There are only `kopf.on.event` handlers, so kopf keeps no state on objects and writes nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import kopf

from deepseek_operator.api.names import FIELD_MANAGER, GROUP
from deepseek_operator.controllers.decision import Ref
from deepseek_operator.engine.connection import Connection
from deepseek_operator.engine.forgetful import NoDiffBase, NoMemories, NoProgress
from deepseek_operator.engine.kinds import CHILDREN, RESOURCES, ROUTES, Kind
from deepseek_operator.engine.store import Store


async def watch(
    connection: Connection,
    store: Store,
    namespace: str,
    namespaces: Sequence[str],
    stop: asyncio.Event,
    on_started: Callable[[], None],
) -> None:
    """Feed the store until `stop` is set; ends with an error where a watch is refused.

    Routes are watched in the operator's own namespace, the rest in `namespaces`, or everywhere where there are none.
    kopf takes over the signals of the process; `on_started` is called when it has, to take them back.
    """
    for name in ("kopf", "kopf.objects", "kopf.activities"):
        logging.getLogger(name).setLevel(logging.WARNING)
    started = (asyncio.Event(), asyncio.Event())
    routes = _operator(connection, store, (ROUTES,), (namespace,), stop, started[0])
    others = _operator(connection, store, (*RESOURCES, *CHILDREN), namespaces, stop, started[1])
    async with asyncio.TaskGroup() as group:
        for name, coroutine in (("watch routes", routes), ("watch resources and children", others)):
            group.create_task(coroutine, name=name).add_done_callback(lambda _: stop.set())
        await asyncio.gather(*(flag.wait() for flag in started))
        on_started()


async def _operator(
    connection: Connection,
    store: Store,
    kinds: Sequence[Kind],
    namespaces: Sequence[str],
    stop: asyncio.Event,
    started: asyncio.Event,
) -> None:
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return kopf.AiohttpSession(server=connection.server, aiohttp_session=connection.session(limit=0))

    for kind in kinds:
        _feed(registry, store, kind)
    # its type is private to kopf; without one kopf looks up the user's name, which a numeric user has not
    identity: Any = FIELD_MANAGER
    await kopf.operator(
        registry=registry,
        settings=_settings(kinds),
        memories=NoMemories(),
        clusterwide=not namespaces,
        namespaces=list(namespaces),
        standalone=True,
        identity=identity,
        stop_flag=stop,
        ready_flag=started,
    )


def _feed(registry: kopf.OperatorRegistry, store: Store, kind: Kind) -> None:
    @kopf.on.event(kind.group, kind.version, kind.plural, registry=registry)
    async def take_in(event: kopf.RawEvent, **_: Any) -> None:
        obj: dict[str, Any] = {**event["object"], "apiVersion": kind.api_version, "kind": kind.name}
        if event["type"] == "DELETED":
            store.drop(Ref.of(obj), obj["metadata"]["uid"], obj["metadata"]["resourceVersion"])
        else:
            store.put(obj)


def _settings(kinds: Sequence[Kind]) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True  # kinds and namespaces are fixed: no right to list CRDs and namespaces is needed
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.queueing.idle_timeout = 0.01  # a queue and a task for each object: free them at once
    settings.watching.chunk_size = 100
    settings.watching.server_timeout = 290
    settings.watching.client_timeout = 300
    settings.networking.request_timeout = 30
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.persistence.finalizer = f"{GROUP}/unused"
    for kind in kinds:
        if kind.selector:
            settings.watching.label_selectors[kind.group, kind.version, kind.plural] = kind.selector
    return settings
