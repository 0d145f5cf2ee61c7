"""The watches: kopf lists, watches and reconnects; what it reads goes straight into the store.

Of kopf this is the reading half. Its other half, a queue, a task and a call of handlers for every event, would take
three quarters of a millisecond for what the store and the work queue do over again: a third of all processor time, and
half of a restart. It has no public door between the two, so the modules imported here are kopf's own: its version is
pinned, and the integration tests are what a new one has to pass.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

import kopf
from kopf._cogs.clients import auth, watching
from kopf._cogs.structs import bodies, credentials, references

from deepseek_operator.controllers.decision import Object, Ref
from deepseek_operator.engine.connection import Connection
from deepseek_operator.engine.kinds import ROUTES, WATCHED, Kind
from deepseek_operator.engine.store import Store

_LOGIN: Final = 1.0
"""Seconds between sessions while the server takes none of them."""


class Watches:
    """One for each kind and namespace, and a store that they feed.

    Routes are watched in the operator's own namespace, the rest in `namespaces`, or everywhere where there are none.
    `relisted` is told of every kind that had to be listed again: what went meanwhile was not shown.
    """

    def __init__(
        self,
        connection: Connection,
        store: Store,
        namespace: str,
        namespaces: Sequence[str],
        relisted: Callable[[Kind], None],
    ) -> None:
        self._connection = connection
        self._store = store
        self._relisted = relisted
        everywhere = tuple(namespaces) or (None,)
        self._wanted = [(kind, space) for kind in WATCHED for space in ((namespace,) if kind is ROUTES else everywhere)]
        self._unlisted = set(self._wanted)
        self.synced = asyncio.Event()
        """Set as soon as all that was there at the start is in the store: no decision is made on half a view."""

    async def run(self) -> None:
        """Feed the store until cancelled; fails where a watch is refused."""
        vault, settings = credentials.Vault(), _settings()
        auth.vault_var.set(vault)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._log_in(vault), name="log in")
                for kind, space in self._wanted:
                    group.create_task(self._follow(kind, space, settings), name=f"watch {kind.plural}")
        finally:
            await vault.close()

    async def _follow(self, kind: Kind, space: str | None, settings: kopf.OperatorSettings) -> None:
        resource = references.Resource(kind.group, kind.version, kind.plural, namespaced=True)
        namespace = references.NamespaceName(space) if space is not None else None
        async for event in watching.infinite_watch(settings=settings, resource=resource, namespace=namespace):
            if event is watching.Bookmark.LISTED:
                self._listed(kind, space)
            elif not isinstance(event, watching.Bookmark) and event["type"] != "BOOKMARK":
                take_in(self._store, kind, event)

    def _listed(self, kind: Kind, space: str | None) -> None:
        if (kind, space) not in self._unlisted:
            self._relisted(kind)
        self._unlisted.discard((kind, space))
        if not self._unlisted:
            self.synced.set()

    async def _log_in(self, vault: credentials.Vault) -> NoReturn:
        """Open a session at first, and a new one whenever the server has refused the last: its token may be renewed."""
        while True:
            await vault.wait_for_emptiness()
            session = self._connection.session(limit=0)
            found = kopf.AiohttpSession(server=self._connection.server, aiohttp_session=session)
            await vault.populate({"session": found})
            await asyncio.sleep(_LOGIN)


def take_in(store: Store, kind: Kind, event: bodies.RawEvent) -> None:
    """Bring the store in line with one event; those of a list have no type, and their objects no kind."""
    obj: Object = {**event["object"], "apiVersion": kind.api_version, "kind": kind.name}
    if event["type"] == "DELETED":
        store.drop(Ref.of(obj), obj["metadata"]["uid"], obj["metadata"]["resourceVersion"])
    else:
        store.put(obj)


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.watching.chunk_size = 100
    settings.watching.server_timeout = 290
    settings.watching.client_timeout = 300
    settings.networking.request_timeout = 30
    for kind in WATCHED:
        if kind.selector:
            settings.watching.label_selectors[kind.group, kind.version, kind.plural] = kind.selector
    return settings
