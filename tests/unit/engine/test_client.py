"""The API over HTTP, against a server on the loopback that says what it was asked."""

import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from deepseek_operator.controllers.decision import Ref
from deepseek_operator.engine import client as module
from deepseek_operator.engine import errors
from deepseek_operator.engine.client import Client
from deepseek_operator.engine.connection import RotatingToken
from deepseek_operator.engine.kinds import CHILDREN, RESOURCES

JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "quantize", "namespace": "team"}}
REF = Ref("Job", "team", "quantize")
PATH = "/apis/batch/v1/namespaces/team/jobs"


class Server:
    """Answers from a list, the last of them for ever."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], Any, dict[str, str]]] = []
        self.answers: list[Callable[[], web.StreamResponse]] = [lambda: web.json_response({})]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        body = json.loads(text) if text else None
        self.requests.append((request.method, request.path, dict(request.query), body, dict(request.headers)))
        return (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])()


def status(code: int, reason: str = "Reason", **headers: str) -> Callable[[], web.StreamResponse]:
    body = {"kind": "Status", "reason": reason, "message": "told", "details": {"causes": [{"reason": "Cause"}]}}
    return lambda: web.json_response(body, status=code, headers=headers)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def api(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    async def no_wait(_: float) -> None:
        return

    monkeypatch.setattr("deepseek_operator.engine.client.asyncio.sleep", no_wait)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    async with TestServer(app, host="127.0.0.1") as running, aiohttp.ClientSession() as session:
        yield Client(session, str(running.make_url("")))


async def test_what_each_call_asks(api: Client, server: Server) -> None:
    await api.get(REF)
    await api.create(JOB)
    await api.apply(JOB, force=True)
    await api.apply(JOB, force=False, subresource="status")
    await api.patch(REF, {"spec": {"suspend": True}})
    await api.delete(REF, "uid-1")
    asked = [(method, path, query) for method, path, query, _, _ in server.requests]
    manager = {"fieldManager": "deepseek-operator"}
    assert asked == [
        ("GET", f"{PATH}/quantize", {}),
        ("POST", PATH, manager),
        ("PATCH", f"{PATH}/quantize", {**manager, "force": "true"}),
        ("PATCH", f"{PATH}/quantize/status", {**manager, "force": "false"}),
        ("PATCH", f"{PATH}/quantize", manager),
        ("DELETE", f"{PATH}/quantize", {}),
    ]
    types = [headers["Content-Type"] for *_, headers in server.requests]
    assert types[2:5] == ["application/apply-patch+yaml"] * 2 + ["application/merge-patch+json"]
    assert server.requests[5][3]["preconditions"] == {"uid": "uid-1"}
    assert ("patch", "batch", "jobs/status") in api.verbs


async def test_lists_are_metadata_only_selected_and_read_to_the_last_page(api: Client, server: Server) -> None:
    pages = [
        {"items": [{"metadata": {"name": "a"}}], "metadata": {"continue": "next"}},
        {"items": None, "metadata": {}},
    ]
    server.answers = [partial(web.json_response, page) for page in pages]
    assert await api.list_metadata(CHILDREN[0], "") == [{"metadata": {"name": "a"}}]
    (_, path, first, _, headers), (_, _, second, _, _) = server.requests
    assert path == "/apis/batch/v1/jobs"
    assert first["labelSelector"] == "app.kubernetes.io/managed-by=deepseek-operator"
    assert second["continue"] == "next"
    assert "PartialObjectMetadataList" in headers["Accept"]


async def test_warnings_are_of_one_object_or_of_a_whole_namespace(api: Client, server: Server) -> None:
    pages = [
        {"items": [{"reason": "Failed"}], "metadata": {"continue": "next"}},
        {"items": [{"reason": "FailedMount"}], "metadata": {}},
    ]
    server.answers = [partial(web.json_response, page) for page in pages]
    assert [event async for event in api.warnings("team")] == [{"reason": "Failed"}, {"reason": "FailedMount"}]
    assert [request[2].get("continue") for request in server.requests] == [None, "next"]
    assert server.requests[1][2]["fieldSelector"] == "type=Warning"
    server.answers = [partial(web.json_response, pages[1])]
    assert [event async for event in api.warnings("team", "uid-1")] == [{"reason": "FailedMount"}]
    assert server.requests[-1][2]["fieldSelector"] == "involvedObject.uid=uid-1,type=Warning"


@pytest.mark.parametrize("code", [429, 500, 503])
async def test_what_passes_is_tried_again(api: Client, server: Server, code: int) -> None:
    server.answers = [status(code, **{"Retry-After": "1"}), status(code), lambda: web.json_response({"ok": True})]
    assert await api.get(REF) == {"ok": True}
    assert len(server.requests) == 3


async def test_patience_ends(api: Client, server: Server) -> None:
    server.answers = [status(503)]
    with pytest.raises(errors.ApiError) as caught:
        await api.get(REF)
    assert caught.value.passing
    assert len(server.requests) == module.ATTEMPTS
    server.answers = [status(429, **{"Retry-After": "60"})]
    server.requests.clear()
    with pytest.raises(errors.ApiError) as caught:
        await api.get(REF)
    assert (len(server.requests), caught.value.retry_after) == (1, 60.0), "a long wait is the work queue's"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (404, errors.NotFoundError),
        (409, errors.ConflictError),
        (403, errors.ForbiddenError),
        (422, errors.InvalidError),
    ],
)
async def test_a_refusal_is_told_at_once(api: Client, server: Server, code: int, kind: type[errors.ApiError]) -> None:
    server.answers = [status(code)]
    with pytest.raises(kind, match=f"{code} Reason: told"):
        await api.create(JOB)
    assert len(server.requests) == 1


async def test_no_answer_is_an_error_that_passes(api: Client, server: Server) -> None:
    server.answers = [lambda: web.Response(status=502, text="<html>bad gateway</html>")]
    with pytest.raises(errors.ApiError, match="bad gateway"):
        await api.get(REF)
    async with aiohttp.ClientSession() as session:
        nowhere = Client(session, "http://127.0.0.1:9")
        with pytest.raises(errors.ApiError) as caught:
            await nowhere.get(REF)
    assert (caught.value.status, caught.value.passing) == (0, True)


async def test_whether_a_kind_is_served(api: Client, server: Server) -> None:
    server.answers = [
        lambda: web.json_response({"resources": [{"name": "deepseekmodels"}]}),
        status(404),
    ]
    assert await api.serves(RESOURCES[0])
    assert not await api.serves(RESOURCES[0])


async def test_a_token_is_read_again_when_it_may_have_been_renewed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, clock = tmp_path / "token", [0.0]
    monkeypatch.setattr("deepseek_operator.engine.connection.time.monotonic", lambda: clock[0])
    path.write_text("first\n")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    async with (
        TestServer(app, host="127.0.0.1") as running,
        aiohttp.ClientSession(middlewares=(RotatingToken(path),)) as session,
    ):
        client = Client(session, str(running.make_url("")))
        await client.get(REF)
        path.write_text("second")
        clock[0] = 30.0
        await client.get(REF)
        clock[0] = 61.0
        await client.get(REF)
    sent = [headers["Authorization"] for *_, headers in server.requests]
    assert sent == ["Bearer first", "Bearer first", "Bearer second"]
