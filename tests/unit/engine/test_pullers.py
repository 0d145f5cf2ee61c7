"""Progress from pods that may answer anything, and Warning events with patience."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from deepseek_operator.api.names import MODEL, Label
from deepseek_operator.controllers.decision import Object, Ref, Unreachable
from deepseek_operator.engine import pullers
from deepseek_operator.engine.pacing import Calm
from deepseek_operator.engine.pullers import TROUBLE_AT_ONCE, ProgressPuller, WarningsPuller
from deepseek_operator.engine.store import Store
from deepseek_runtime.wire import credential
from deepseek_runtime.wire.progress import MAX_BYTES, Progress
from deepseek_runtime.wire.proof import Verifier, check_body

from tests.faults import virtual_time
from tests.faults.connection import Log, WorldApi
from tests.faults.world import World
from tests.unit.engine.conftest import child, resource

MASTER = bytes(32)
POD = Ref("Pod", "team", "pod")
PROGRESS = Progress(identity="i", phase="step", unit="steps", done=1, total=2)
Answer = Callable[[web.Request], web.StreamResponse]


class Pod:
    """Answers on /progress, and keeps what it was sent."""

    def __init__(self) -> None:
        self.answer: Answer = lambda _: web.Response(text=PROGRESS.to_json())
        self.authorizations: list[str | None] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.authorizations.append(request.headers.get("Authorization"))
        return self.answer(request)


@pytest.fixture
def pod() -> Pod:
    return Pod()


@pytest.fixture
async def puller(store: Store, pod: Pod) -> AsyncIterator[ProgressPuller]:
    obj = child(resource(), "Pod", "pod", status={"phase": "Running", "podIP": "127.0.0.1"})
    obj["metadata"]["labels"][Label.WORK] = "build"
    store.put(obj)
    app = web.Application()
    app.router.add_get("/progress", pod.handle)
    async with TestServer(app, host="127.0.0.1") as running, aiohttp.ClientSession() as session:
        yield ProgressPuller(store, session, MASTER, lambda: datetime.now(UTC), running.port or 0)


async def test_the_answer_is_kept_and_every_request_proves_who_asks(
    puller: ProgressPuller, pod: Pod, store: Store
) -> None:
    await puller.pull(POD)
    assert store.progress(POD) == PROGRESS
    await puller.pull(POD)
    verifier = Verifier(credential.public_key(MASTER, credential.workload(MODEL, "team", "seed", "uid-seed")))
    for authorization in pod.authorizations:
        check_body(verifier.check("GET", "/progress", authorization), b"")
    assert len(pod.authorizations) == 2


def _redirect(request: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "http://192.0.2.1/steal"})


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda _: web.Response(status=401, text="61 s ahead"), "status 401: 61 s ahead"),
        (_redirect, "status 302"),
        (lambda _: web.Response(body=b" " * (MAX_BYTES + 1)), "more than 65536 bytes"),
        (lambda _: web.Response(text="{}"), "not a progress document"),
        (lambda _: web.Response(text="<html>"), "not a progress document"),
    ],
    ids=["refused", "redirected", "too-long", "incomplete", "no-json"],
)
async def test_a_bad_answer_is_told_once_and_leaves_no_trace_later(
    puller: ProgressPuller, pod: Pod, store: Store, woken: list[Ref], answer: Answer, error: str
) -> None:
    good, pod.answer = pod.answer, answer
    woken.clear()
    await puller.pull(POD)
    first = store.progress(POD)
    assert isinstance(first, Unreachable)
    assert error in first.error
    await puller.pull(POD)
    assert store.progress(POD) is first
    assert len(woken) == 1
    pod.answer = good
    await puller.pull(POD)
    assert store.progress(POD) == PROGRESS


async def test_a_pod_that_hangs_costs_no_more_than_its_time(
    puller: ProgressPuller, pod: Pod, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pullers, "PROGRESS_TIMEOUT", 0.05)
    held = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        await held.wait()
        return web.Response()

    pod.handle = hang  # type: ignore[method-assign]
    app = web.Application()
    app.router.add_get("/progress", hang)
    async with TestServer(app, host="127.0.0.1") as running:
        puller._port = running.port or 0
        await asyncio.wait_for(puller.pull(POD), timeout=1)
        held.set()
    assert isinstance(store.progress(POD), Unreachable)


def warning(uid: str, reason: str, second: int, message: str = "a") -> Object:
    time = f"2030-01-01T00:{second // 60:02}:{second % 60:02}Z"
    return {
        "reason": reason,
        "message": message,
        "lastTimestamp": time,
        "metadata": {},
        "involvedObject": {"uid": uid} if uid else {},
    }


class CountingApi(WorldApi):
    """Writes down of which namespaces and objects warnings are asked for."""

    def __init__(self, *events: Object) -> None:
        super().__init__(World(), Log())
        self.events = events
        self.asked: list[tuple[str, str | None]] = []

    async def warnings(self, namespace: str, uid: str | None = None) -> AsyncIterator[Object]:
        self.asked.append((namespace, uid))
        for event in self.events:
            if uid is None or event["involvedObject"]["uid"] == uid:
                yield event


async def test_warnings_are_asked_for_after_a_grace_and_then_ever_more_rarely(store: Store, woken: list[Ref]) -> None:
    api = CountingApi(warning("uid-pod", "Later", 2, "m" * 5000), warning("uid-pod", "First", 1))
    puller = WarningsPuller(api, store, Calm())
    store.put(child(resource(), "Pod", "pod", status={"phase": "Pending"}))
    woken.clear()
    asked = []
    for second in range(400):
        await puller.tick(float(second))
        asked.append(len(api.asked))
    assert asked[1] == 0
    assert asked[2] == 1
    assert 5 < asked[-1] < 15
    assert set(api.asked) == {("team", "uid-pod")}
    assert woken == [Ref(MODEL, "team", "seed")], "the same warnings are news once"
    told = store.observe(resource()).warnings["uid-pod"]
    assert [warning.reason for warning in told] == ["First", "Later"]
    assert len(told[1].message) == 1024
    store.drop(POD, "uid-pod")
    await puller.tick(1000.0)
    assert asked[-1] == len(api.asked)


async def test_one_answer_tells_of_all_children_of_a_namespace(store: Store) -> None:
    api = CountingApi(
        *(warning("uid-pod-7", f"Reason{number}", number) for number in reversed(range(60))),
        warning("uid-pod-8", "Other", 1),
        warning("uid-strange", "Strange", 1),
        warning("", "OfNobody", 1),
    )
    puller = WarningsPuller(api, store, Calm())
    for number in range(10):
        store.put(child(resource(), "Pod", f"pod-{number}", status={"phase": "Pending"}))
    for second in range(4):
        await puller.tick(float(second))
    assert api.asked == [("team", None)]
    told = store.observe(resource()).warnings
    assert told.keys() == {"uid-pod-7", "uid-pod-8"}
    assert [warning.reason for warning in told["uid-pod-7"]] == [f"Reason{number}" for number in range(10, 60)]


async def test_after_a_start_each_namespace_is_asked_about_once_in_a_period(store: Store) -> None:
    api = CountingApi()
    puller = WarningsPuller(api, store, Calm())
    for number in range(1000):  # all in trouble at once, in no order
        store.put(child(resource(), "Pod", f"p-{number}", namespace=f"n-{number % 50}", status={"phase": "Pending"}))
    for second in range(6):
        await puller.tick(float(second))
    assert sorted(api.asked) == sorted((f"n-{number}", None) for number in range(50))


async def test_among_thousands_that_wait_a_new_trouble_is_asked_about_at_once(store: Store) -> None:
    api = CountingApi()
    puller = WarningsPuller(api, store, Calm())
    for number in range(500):
        store.put(child(resource(), "Pod", f"old-{number}", namespace=f"n-{number}", status={"phase": "Pending"}))
    for second in range(60):
        before = len(api.asked)
        await puller.tick(float(second))
        assert len(api.asked) - before <= TROUBLE_AT_ONCE
    assert len(set(api.asked)) == 500
    store.put(child(resource(), "Pod", "new", status={"phase": "Pending"}))
    await puller.tick(60.0)
    await puller.tick(63.0)
    assert ("team", "uid-new") in api.asked[-TROUBLE_AT_ONCE:]


def test_while_children_are_made_warnings_wait_but_not_for_ever(store: Store) -> None:
    for number in range(500):
        store.put(child(resource(), "Pod", f"old-{number}", namespace=f"n-{number}", status={"phase": "Pending"}))

    async def asked(*, disturbed: bool) -> int:
        api, calm, loop = CountingApi(), Calm(), asyncio.get_running_loop()
        task = asyncio.create_task(WarningsPuller(api, store, calm).run())
        for _ in range(250):
            if disturbed:
                calm.made(loop.time())
            await asyncio.sleep(0.02)
        task.cancel()
        return len(api.asked)

    undisturbed = virtual_time.run(asked(disturbed=False))
    assert 0 < virtual_time.run(asked(disturbed=True)) < undisturbed / 2


@pytest.mark.parametrize(
    ("status", "asked"),
    [
        ({"active": 1}, True),
        ({"active": 1, "failed": 1}, True),
        ({"active": 2}, False),
        ({"active": 1, "succeeded": 1}, False),
        ({"conditions": [{"type": "Complete", "status": "True"}], "succeeded": 2}, False),
    ],
    ids=["short", "short after a failure", "whole", "one done", "complete"],
)
def test_a_job_of_two_pods_is_in_trouble_while_one_is_missing(store: Store, status: Object, asked: bool) -> None:
    store.put(child(resource(), spec={"parallelism": 2}, status=status))
    assert (Ref("Job", "team", "work") in store.troubled) is asked
