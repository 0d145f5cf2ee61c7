"""The slow comparison of the store with the server: nothing is missed for ever, whatever a watch has lost.

A watch that was interrupted for too long (410 Gone) starts again with a new list, and does not tell
what went in between: its kind is compared soon.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from deepseek_operator.controllers.decision import Object, Ref
from deepseek_operator.engine import errors
from deepseek_operator.engine.api import Api
from deepseek_operator.engine.kinds import ROUTES, WATCHED, Kind
from deepseek_operator.engine.store import Store

log = logging.getLogger(__name__)

PERIOD = 600.0
_PATIENCE = 2.0
"""Seconds in which the watches may catch up with a list."""
_AT_ONCE, _PAUSE = 10, 0.25
"""Resources that are looked at again without a cause, and seconds until the next: what has one shall not wait.

At 2 to 3 ms each a tenth of a processor; 24,000 resources take the whole period."""


class Sweep:
    """All watched kinds in all watched namespaces; an empty sequence of namespaces means all."""

    def __init__(
        self, api: Api, store: Store, wake: Callable[[Ref], None], namespace: str, namespaces: Sequence[str] = ()
    ) -> None:
        self._api = api
        self._store = store
        self._wake = wake
        self._namespace = namespace
        self._namespaces = tuple(namespaces) or ("",)
        self._relisted: set[Kind] = set()
        self._early = asyncio.Event()

    def relisted(self, kind: Kind) -> None:
        """A watch of this kind has started again with a list: compare it soon."""
        self._relisted.add(kind)
        self._early.set()

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(PERIOD)
            try:
                await self.once()
            except errors.ApiError as error:
                log.warning("the sweep is put off: %s", error)

    async def catch_up(self) -> None:
        """Compare the kinds that were listed again, until cancelled."""
        while True:
            await self._early.wait()
            kind = self._relisted.pop()
            if not self._relisted:
                self._early.clear()
            try:
                await self._compare(kind)
            except errors.ApiError as error:
                log.warning("%s will be compared again: %s", kind.plural, error)
                self.relisted(kind)
                await asyncio.sleep(_PATIENCE)

    async def once(self) -> None:
        """Remove ghosts, fetch what was missed, and have every resource looked at again."""
        for kind in WATCHED:
            await self._compare(kind)
        for number, owner in enumerate(self._store.owners()):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(_PAUSE)
            self._wake(owner)

    async def _compare(self, kind: Kind) -> None:
        before = self._store.uids(kind.name)
        there = await self._list(kind)
        for ref, uid in before.items():
            if ref not in there or there[ref]["uid"] != uid:
                log.info("%s is gone unnoticed", ref)
                self._store.drop(ref, uid)
        await asyncio.sleep(_PATIENCE)
        for ref, meta in there.items():
            if not self._store.has(ref, meta["resourceVersion"]):
                await self._fetch(ref)

    async def _fetch(self, ref: Ref) -> None:
        try:
            self._store.put(await self._api.get(ref))
        except errors.NotFoundError:
            return
        log.info("%s has changed unnoticed", ref)

    async def _list(self, kind: Kind) -> dict[Ref, Object]:
        namespaces = (self._namespace,) if kind is ROUTES else self._namespaces
        found: dict[Ref, Object] = {}
        for namespace in namespaces:
            found |= {_ref(kind, item): item["metadata"] for item in await self._api.list_metadata(kind, namespace)}
        return found


def _ref(kind: Kind, item: Object) -> Ref:
    return Ref(kind.name, item["metadata"].get("namespace", ""), item["metadata"]["name"])
