"""The watches, against a server on the loopback that lists, streams, and refuses."""

import asyncio
import json
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Callable

import aiohttp
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
from kopf._cogs.clients.errors import APINotFoundError

from tests.unit.engine.conftest import resource

MODELS = PLURALS[MODEL]
MODEL_KIND = next(kind for kind in RESOURCES if kind.name == MODEL)
BROKEN = {"type": "ERROR", "object": {"kind": "Status", "status": "Failure", "code": 500, "reason": "InternalError"}}
GONE = {"type": "ERROR", "object": {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired"}}


class Server:
    """Every kind has a list and a stream; the requests for them by path."""

    def __init__(self) -> None:
        self.lists: dict[str, list[Object]] = defaultdict(list)
        self.streams: dict[str, asyncio.Queue[Object]] = defaultdict(asyncio.Queue)
        self.held: dict[str, asyncio.Event] = {}
        self.later: dict[str, list[Callable[[], web.StreamResponse]]] = defaultdict(list)
        """Answers to requests for further pages of a path; without one its list has a single page."""
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
            if "continue" in request.query:
                return self.later[request.path].pop()()
            found = self.lists[plural]
            items = [{key: value for key, value in obj.items() if key not in {"kind", "apiVersion"}} for obj in found]
            meta = {"resourceVersion": "7", **({"continue": "more"} if self.later[request.path] else {})}
            kind = next(kind for kind in WATCHED if kind.plural == plural)
            head = {"apiVersion": kind.api_version, "kind": f"{kind.name}List"}
            return web.json_response({**head, "metadata": meta, "items": items})
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            event = await self.streams[plural].get()
            await response.write(json.dumps(event).encode() + b"\n")
            if event["type"] == "ERROR":
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
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[aiohttp.ClientSession]:
    """All that were opened."""
    opened: list[aiohttp.ClientSession] = []
    session = Connection.session

    def opening(connection: Connection, limit: int) -> aiohttp.ClientSession:
        opened.append(session(connection, limit))
        return opened[-1]

    monkeypatch.setattr(Connection, "session", opening)
    return opened


@pytest.fixture
async def watches(
    server: tuple[Server, str],
    store: Store,
    relisted: list[Kind],
    sessions: list[aiohttp.ClientSession],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Watches]:
    monkeypatch.setattr(watch, "_PAUSE", 0.01)
    connection = Connection(server[1], ssl.create_default_context())
    found = Watches(connection, store, "system", ("team", "other", "team"), relisted.append)
    running = asyncio.create_task(found.run())
    yield found
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert all(session.closed for session in sessions)


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


@pytest.mark.parametrize("end", [GONE, BROKEN], ids=["410", "another error"])
async def test_a_kind_that_is_listed_again_is_told(
    end: Object, server: tuple[Server, str], store: Store, watches: Watches, relisted: list[Kind]
) -> None:
    await asyncio.wait_for(watches.synced.wait(), 5)
    server[0].lists[MODELS] = [resource("new")]
    await server[0].streams[MODELS].put(end)
    await until(lambda: bool(relisted))
    assert relisted == [MODEL_KIND]
    assert store.get(Ref(MODEL, "team", "new")) is not None


async def test_a_first_list_that_breaks_off_may_have_shown_what_is_gone(
    server: tuple[Server, str], store: Store, watches: Watches, relisted: list[Kind]
) -> None:
    server[0].lists[MODELS] = [resource("seed")]
    expired = web.json_response({"kind": "Status", "code": 410}, status=410)
    server[0].later[MODEL_KIND.path("team")] = [lambda: expired]
    await asyncio.wait_for(watches.synced.wait(), 5)
    assert relisted == [MODEL_KIND], "it is compared, though it was never listed whole before"
    assert store.get(Ref(MODEL, "team", "seed")) is not None


async def test_a_list_that_is_refused_for_good_ends_all(server: tuple[Server, str], store: Store) -> None:
    server[0].lists[MODELS] = [resource("seed")]
    unknown = web.json_response({"kind": "Status", "code": 404}, status=404)
    server[0].later[MODEL_KIND.path("")] = [lambda: unknown]
    connection = Connection(server[1], ssl.create_default_context())
    watches = Watches(connection, store, "system", (), lambda _: None)
    with pytest.raises(ExceptionGroup) as ended:
        await asyncio.wait_for(watches.run(), 5)
    assert ended.group_contains(APINotFoundError)
    assert not watches.synced.is_set()


async def test_a_refused_session_is_replaced(
    server: tuple[Server, str], watches: Watches, sessions: list[aiohttp.ClientSession]
) -> None:
    server[0].refused = 3
    await asyncio.wait_for(watches.synced.wait(), 5)
    assert [session.closed for session in sessions][-2:] == [True, False]


async def test_an_object_that_cannot_be_taken_in_hides_no_other(
    server: tuple[Server, str], store: Store, watches: Watches, caplog: pytest.LogCaptureFixture
) -> None:
    strange = resource("strange")
    strange["metadata"]["resourceVersion"] = "none"
    server[0].lists[MODELS] = [strange, resource("seed")]
    await asyncio.wait_for(watches.synced.wait(), 5)
    assert store.get(Ref(MODEL, "team", "seed")) is not None
    assert "DeepSeekModel/team/strange cannot be taken in" in caplog.text
