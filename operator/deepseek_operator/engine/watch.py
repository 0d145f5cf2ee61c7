"""The watches: kopf lists, watches and reconnects; what it reads goes straight into the store.

Of kopf this is the reading half. Its other half, a queue, a task and a call of handlers for every event, would take
three quarters of a millisecond for what the store and the work queue do over again: a third of all processor time, and
half of a restart. It has no public door between the two, so the modules imported here are kopf's own: its version is
pinned, and the integration tests are what a new one has to pass.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, NoReturn, cast

import kopf
from kopf._cogs.clients import auth, errors, watching
from kopf._cogs.structs import bodies, credentials, references

from deepseek_operator.controllers.decision import Object, Ref
from deepseek_operator.engine.connection import Connection
from deepseek_operator.engine.kinds import ROUTES, WATCHED, Kind
from deepseek_operator.engine.store import Store

log = logging.getLogger(__name__)

_PAUSE: Final = 1.0
"""Seconds between two lists of a kind, and between two sessions while the server takes none."""
_GONE: Final = 410


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
        everywhere = tuple(dict.fromkeys(namespaces)) or (None,)
        self._wanted = [(kind, space) for kind in WATCHED for space in ((namespace,) if kind is ROUTES else everywhere)]
        self._unlisted = set(self._wanted)
        self.synced = asyncio.Event()
        """Set as soon as all that was there at the start is in the store: no decision is made on half a view."""

    async def run(self) -> None:
        """Feed the store until cancelled.

        Fails with kopf's error where a list or a watch is refused for a minute, with 404 at once.
        """
        vault, settings = credentials.Vault(), _settings()
        auth.vault_var.set(vault)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._log_in(vault), name="log in")
            for kind, space in self._wanted:
                group.create_task(self._follow(kind, space, settings), name=f"watch {kind.plural}")

    async def _follow(self, kind: Kind, space: str | None, settings: kopf.OperatorSettings) -> NoReturn:
        """List and watch, and list again when the watch has come to its end, or the list to none."""
        lists = 0
        while True:
            lists += 1
            try:
                async for event in self._events(kind, space, settings):
                    if event is watching.Bookmark.LISTED:
                        self._listed(kind, space, again=lists > 1)
                    elif not isinstance(event, watching.Bookmark) and event["type"] != "BOOKMARK":
                        take_in(self._store, event)
            except errors.APIError as error:  # 410: the pages of one list took so long that its version is gone
                if error.status != _GONE and not isinstance(error, errors.APITooManyRequestsError):
                    raise
            except watching.WatchingError as error:
                log.warning("the watch of %s has failed and begins again: %s", kind.plural, error)
            await asyncio.sleep(_PAUSE)

    def _events(
        self, kind: Kind, space: str | None, settings: kopf.OperatorSettings
    ) -> AsyncIterator[watching.Bookmark | bodies.RawEvent]:
        return watching.continuous_watch(
            settings=settings,
            resource=references.Resource(kind.group, kind.version, kind.plural, namespaced=True),
            namespace=references.NamespaceName(space) if space is not None else None,
            operator_pause_waiter=asyncio.get_running_loop().create_future(),  # never paused
        )

    def _listed(self, kind: Kind, space: str | None, *, again: bool) -> None:
        if again:
            self._relisted(kind)
        self._unlisted.discard((kind, space))
        if not self._unlisted:
            self.synced.set()

    async def _log_in(self, vault: credentials.Vault) -> NoReturn:
        """A session, and a new one whenever the server has refused the last: its token may have been renewed."""
        while True:
            async with self._connection.session(limit=0) as session:
                found = kopf.AiohttpSession(server=self._connection.server, aiohttp_session=session)
                await vault.populate({"session": found})
                await asyncio.sleep(_PAUSE)
                await vault.wait_for_emptiness()


def take_in(store: Store, event: bodies.RawEvent) -> None:
    """Bring the store in line with one event; those of a list have no type."""
    obj = cast("Object", event["object"])
    ref = Ref.of(obj)
    try:
        if event["type"] == "DELETED":
            store.drop(ref, obj["metadata"]["uid"], obj["metadata"]["resourceVersion"])
        else:
            store.put(obj)
    except Exception:  # a bug here must cost one object, not all objects their operator
        log.exception("%s cannot be taken in", ref)


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
