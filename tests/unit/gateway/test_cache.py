"""What is remembered, how long, and how many questions are asked."""

import asyncio

import pytest
from deepseek_runtime.gateway.access.cache import AnswerCache
from deepseek_runtime.gateway.kube.client import UnreachableError


class Server:
    """Answers with `value`, or not at all; counts."""

    def __init__(self) -> None:
        self.value = True
        self.away = False
        self.asked = 0
        self.now = 0.0

    async def ask(self) -> bool:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise UnreachableError
        return self.value


def make(server: Server, stale: float = 300, size: int = 10) -> AnswerCache[str, bool]:
    return AnswerCache(bool, stale, size, clock=lambda: server.now)


@pytest.mark.parametrize(("value", "seconds"), [(True, 30), (False, 5)])
async def test_answers_last_their_time(value: bool, seconds: float) -> None:
    server = Server()
    server.value = value
    cache = make(server)
    for now, asked in ((0, 1), (seconds, 1), (seconds + 0.1, 2)):
        server.now = now
        assert (await cache.get("a", server.ask)).value is value
        assert server.asked == asked


async def test_many_callers_ask_once_and_one_may_leave() -> None:
    server = Server()
    cache = make(server)
    callers = [asyncio.create_task(cache.get("a", server.ask)) for _ in range(20)]
    await asyncio.sleep(0)
    callers[0].cancel()
    answers = await asyncio.gather(*callers[1:])
    assert {answer.value for answer in answers} == {True}
    assert server.asked == 1


async def test_an_old_allow_lives_while_the_server_is_away() -> None:
    server = Server()
    cache = make(server)
    await cache.get("a", server.ask)
    server.away = True
    server.now = 100
    for _ in range(3):
        assert (await cache.get("a", server.ask)).stale
    assert server.asked == 2  # and not before every request
    server.now = 300.1
    with pytest.raises(UnreachableError):
        await cache.get("a", server.ask)


async def test_an_old_denial_does_not() -> None:
    server = Server()
    server.value = False
    cache = make(server)
    await cache.get("a", server.ask)
    server.away, server.now = True, 6
    with pytest.raises(UnreachableError):
        await cache.get("a", server.ask)


async def test_guesses_push_nothing_out() -> None:
    server = Server()
    cache = make(server, size=10)
    await cache.get("good", server.ask)
    server.value = False
    for number in range(1000):
        await cache.get(f"guess-{number}", server.ask)
    assert (len(cache._allowed), len(cache._denied)) == (1, 10)
    assert (await cache.get("good", server.ask)).cached
