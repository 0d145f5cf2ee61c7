"""The routes: ConfigMaps of the gateway's own namespace, listed once and watched from then on.

Losing the watch loses nothing: the routes that are known are served until the API server says otherwise.
"""

import asyncio
import logging
import random
from contextlib import aclosing
from typing import Any

from deepseek_runtime.gateway.kube.client import KubernetesClient, KubernetesError, UnreachableError
from deepseek_runtime.wire import route as wire
from deepseek_runtime.wire.route import Route

log = logging.getLogger(__name__)

SELECTOR = f"{wire.LABEL}=v1"
_LONGEST_PAUSE_SECONDS = 15.0


class RouteTable:
    """All known routes. A name that two ConfigMaps claim belongs to the younger service: it was made anew."""

    def __init__(self) -> None:
        self._by_config_map: dict[str, Route] = {}
        self._by_service: dict[tuple[str, str], Route] = {}
        self.synced = False

    def __len__(self) -> int:
        return len(self._by_service)

    def find(self, namespace: str, service: str) -> Route | None:
        """The route of a service."""
        return self._by_service.get((namespace, service))

    def all(self) -> list[Route]:
        """Every route, ordered by namespace and name."""
        return [self._by_service[key] for key in sorted(self._by_service)]

    def replace(self, config_maps: list[dict[str, Any]]) -> None:
        """What a list showed: what it did not show is gone."""
        self._by_config_map = {}
        for config_map in config_maps:
            self._read(config_map)
        self._index()
        self.synced = True

    def apply(self, kind: str, config_map: dict[str, Any]) -> None:
        """What a watch event (ADDED, MODIFIED or DELETED) showed."""
        if kind == "DELETED":
            self._by_config_map.pop(config_map["metadata"]["name"], None)
        else:
            self._read(config_map)
        self._index()

    def _read(self, config_map: dict[str, Any]) -> None:
        name = config_map["metadata"]["name"]
        try:
            self._by_config_map[name] = Route.model_validate_json((config_map.get("data") or {})[wire.KEY])
        except (KeyError, ValueError) as error:
            self._by_config_map.pop(name, None)
            log.warning("ConfigMap %s is not a route and is left out: %s", name, error)

    def _index(self) -> None:
        self._by_service = {}
        for route in sorted(self._by_config_map.values(), key=lambda route: (route.created, route.uid)):
            self._by_service[route.namespace, route.service] = route


class RouteWatcher:
    """Keeps a table in step with the API server, for ever."""

    def __init__(self, client: KubernetesClient, namespace: str, table: RouteTable) -> None:
        self._client = client
        self._namespace = namespace
        self._table = table

    async def run(self) -> None:
        """List, watch, and begin anew where that fails, with growing pauses."""
        failures = 0
        since: str | None = None
        while True:
            try:
                if since is None:
                    since = await self._list()
                    failures = 0
                since = await self._watch(since)
                failures = 0
                await asyncio.sleep(random.uniform(0, 0.5))  # replicas started together need not come back together
            except (UnreachableError, KubernetesError) as error:
                log.warning("routes: %s; the known %d are served", error, len(self._table))
                if isinstance(error, KubernetesError):
                    since = None
                failures += 1
                pause = min(_LONGEST_PAUSE_SECONDS, 0.25 * 2**failures)
                await asyncio.sleep(pause * random.uniform(0.5, 1))

    async def _list(self) -> str:
        found = await self._client.list_config_maps(self._namespace, SELECTOR)
        self._table.replace(found.get("items") or [])
        log.info("routes: %d", len(self._table))
        return str(found["metadata"]["resourceVersion"])

    async def _watch(self, since: str) -> str | None:
        """Where to go on, or None where only a new list can tell."""
        async with aclosing(self._client.watch_config_maps(self._namespace, SELECTOR, since)) as events:
            async for event in events:
                shown = event["object"]
                if event["type"] == "ERROR":
                    if shown.get("code") != 410:  # 410: too old to watch from; expected, and listed anew at once
                        raise KubernetesError(shown.get("code", 0), str(shown.get("message", "")))
                    return None
                since = shown["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._table.apply(event["type"], shown)
        return since
