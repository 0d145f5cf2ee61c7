"""When the children of resources come into the sight of a client that has nothing to do with the operator."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.client import Client, Collection

Object = dict[str, Any]
Owner = tuple[str, str, str]
"""Kind, namespace and name."""


class Sightings:
    """Of one kind of child. Times are the event loop's."""

    def __init__(self) -> None:
        self.first: dict[Owner, float] = {}
        """When each owner's first child was seen."""
        self._waiting: dict[Owner, list[tuple[Callable[[Object], bool], asyncio.Future[float]]]] = {}

    def expect(self, owner: Owner, arrived: Callable[[Object], bool] = lambda _: True) -> asyncio.Future[float]:
        """When a child of this owner next appears, or changes, so that it satisfies `arrived`."""
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, []).append((arrived, future))
        return future

    def take_in(self, event: str, obj: Object, now: float) -> None:
        """A change that the watch has shown."""
        if event not in {"ADDED", "MODIFIED"}:
            return
        for owner in owners(obj):
            self.first.setdefault(owner, now)
            for arrived, future in self._waiting.get(owner, ()):
                if not future.done() and arrived(obj):
                    future.set_result(now)


def owners(obj: Object) -> list[Owner]:
    """Those of its owner references."""
    meta = obj["metadata"]
    return [(owner["kind"], meta.get("namespace", ""), owner["name"]) for owner in meta.get("ownerReferences") or ()]


@asynccontextmanager
async def watching(client: Client, where: Collection, namespace: str = "") -> AsyncIterator[Sightings]:
    """Everything that happens within the block is seen; a watch that ends early fails."""
    sightings, version = Sightings(), await client.version(where, namespace)

    async def look() -> None:
        loop = asyncio.get_running_loop()
        async for event, obj in client.watch(where, namespace, version):
            sightings.take_in(event, obj, loop.time())
        raise RuntimeError(f"the watch of {where.plural} has ended")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(look())
        yield sightings
        task.cancel()
