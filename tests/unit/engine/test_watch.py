"""The watches, against a server on the loopback that lists, streams, and refuses."""

import asyncio
import json
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from deepseek_operator.api.names import MODEL, PLURALS
from deepseek_operator.controllers.decision import Object, Ref
from deepseek_operator.engine import watch
from deepseek_operator.engine.connection import Connection
from deepseek_operator.engine.kinds import RESOURCES, ROUTES, WATCHED, Kind
from deepseek_operator.engine.store import Store
from deepseek_operator.engine.watch import Watches

from tests.unit.engine.conftest import resource

MODELS = PLURALS[MODEL]
GONE = {"type": "ERROR", "object": {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired"}}


class Server:
    """Every kind has a list and a stream; the requests for them by path."""

    def __init__(self) -> None:
        self.lists: dict[str, list[Object]] = defaultdict(list)
        self.streams: dict[str, asyncio.Queue[Object]] = defaultdict(asyncio.Queue)
        self.held: dict[str, asyncio.Event] = {}
        self.refused = 0
        self.asked: dict[str, list[dict[str, str]]] = defaultdict(list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        plural = request.path.rpartition("/")[2]
        self.asked[request.path].append(dict(request.query))
        if self.refused:
            self.refused -= 1
            return web.json_response({"kind": "Status", "code": 401}, status=401)
        if "watch" not in request.query:
            if plural in self.held:
                await self.held[plural].wait()
            items = [{key: value for key, value in obj.items() if key != "kind"} for obj in self.lists[plural]]
            return web.json_response({"metadata": {"resourceVersion": "7"}, "items": items})
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            event = await self.streams[plural].get()
            await response.write(json.dumps(event).encode() + b"\n")
            if event is GONE:
                return response


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 what is waited for has no event
            await asyncio.sleep(0.01)


@pytest.fixture
def relisted() -> list[Kind]:
    return []


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    served, app = Server(), web.Application()
    app.router.add_route("GET", "/{path:.*}", served.handle)
    async with TestServer(app, host="127.0.0.1") as running:
        yield served, str(running.make_url(""))


@pytest.fixture
async def watches(
    server: tuple[Server, str], store: Store, relisted: list[Kind], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Watches]:
    monkeypatch.setattr(watch, "_LOGIN", 0.01)
    connection = Connection(server[1], ssl.create_default_context())
    found = Watches(connection, store, "system", ("team", "other"), relisted.append)
    running = asyncio.create_task(found.run())
    yield found
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_the_store_is_in_step_when_everything_has_been_listed(
    server: tuple[Server, str], store: Store, watches: Watches, relisted: list[Kind]
) -> None:
    served = server[0]
    served.lists[MODELS] = [resource("listed")]
    served.held["jobs"] = asyncio.Event()
    await until(lambda: store.get(Ref(MODEL, "team", "listed")) is not None)
    assert not watches.synced.is_set(), "Jobs have not been listed"
    served.held["jobs"].set()
    await asyncio.wait_for(watches.synced.wait(), 5)
    assert relisted == []
    listed = {path for path, queries in served.asked.items() if any("watch" not in query for query in queries)}
    everywhere = [kind for kind in WATCHED if kind is not ROUTES]
    elsewhere = {kind.path(space) for kind in everywhere for space in ("team", "other")}
    assert listed == elsewhere | {ROUTES.path("system")}
    for kind in WATCHED:
        queries = served.asked[kind.path("system" if kind is ROUTES else "team")]
        selectors = {query.get("labelSelector") for query in queries}
        assert selectors == {kind.selector}, "children of others stay where they are"


async def test_events_change_the_store(server: tuple[Server, str], store: Store, watches: Watches) -> None:
    stream, ref = server[0].streams[MODELS], Ref(MODEL, "team", "seed")
    await stream.put({"type": "ADDED", "object": resource(version=8)})
    await until(lambda: store.get(ref) is not None)
    await stream.put({"type": "BOOKMARK", "object": {"kind": MODEL, "metadata": {"resourceVersion": "9"}}})
    await stream.put({"type": "MODIFIED", "object": resource(version=10, model="other")})
    await until(lambda: store.has(ref, "10"))
    assert (store.get(ref) or {})["spec"] == {"model": "other"}
    await stream.put({"type": "DELETED", "object": resource(version=11)})
    await until(lambda: store.get(ref) is None)


async def test_a_kind_that_is_listed_again_is_told(
    server: tuple[Server, str], store: Store, watches: Watches, relisted: list[Kind]
) -> None:
    await asyncio.wait_for(watches.synced.wait(), 5)
    server[0].lists[MODELS] = [resource("new")]
    await server[0].streams[MODELS].put(GONE)
    await until(lambda: bool(relisted))
    assert relisted == [next(kind for kind in RESOURCES if kind.name == MODEL)]
    assert store.get(Ref(MODEL, "team", "new")) is not None


async def test_a_refused_session_is_replaced(server: tuple[Server, str], watches: Watches) -> None:
    server[0].refused = 3
    await asyncio.wait_for(watches.synced.wait(), 5)
    assert server[0].refused == 0
