"""client-go's promises: no key twice at a time, none lost, each with a backoff of its own."""

import asyncio
import random
from collections import Counter
from itertools import pairwise

import pytest
from deepseek_operator.controllers.decision import Ref
from deepseek_operator.engine.metrics import Metrics
from deepseek_operator.engine.pacing import PATIENCE, QUIET
from deepseek_operator.engine.queue import LONGEST_DELAY, WorkQueue

from tests.faults import virtual_time

A, B = Ref("Model", "team", "a"), Ref("Model", "team", "b")


def test_a_key_waits_once_and_comes_again_when_added_while_busy() -> None:
    async def run() -> None:
        queue = WorkQueue(Metrics())
        queue.add(A)
        queue.add(A)
        assert await queue.get() == A
        assert len(queue) == 0
        queue.add(A)
        queue.add(B)
        assert await queue.get() == B, "a busy key is given to nobody else"
        queue.done(A)
        assert await queue.get() == A
        queue.done(A)
        assert len(queue) == 0

    virtual_time.run(run())


@pytest.mark.parametrize("seed", range(5))
def test_under_load_no_key_is_worked_on_twice_at_once_and_none_is_lost(seed: int) -> None:
    async def run() -> None:
        queue, draw = WorkQueue(Metrics()), random.Random(seed)
        keys = [Ref("Model", "team", str(number)) for number in range(10)]
        added, seen, busy = Counter[Ref](), Counter[Ref](), set[Ref]()

        async def work() -> None:
            while (key := await queue.get()) is not None:
                assert key not in busy
                busy.add(key)
                version = added[key]
                await asyncio.sleep(draw.random())
                seen[key] = max(seen[key], version)
                busy.discard(key)
                queue.done(key)

        workers = [asyncio.create_task(work()) for _ in range(4)]
        for _ in range(300):
            key = draw.choice(keys)
            added[key] += 1
            queue.add(key)
            await asyncio.sleep(draw.random() * 0.1)
        await asyncio.sleep(100)
        assert seen == added, "the last addition of each key was followed by work"
        queue.stop()
        await asyncio.gather(*workers)

    virtual_time.run(run())


def test_the_backoff_doubles_up_to_a_limit_and_starts_anew_after_success() -> None:
    async def run() -> None:
        queue, loop = WorkQueue(Metrics()), asyncio.get_running_loop()
        delays = []
        for _ in range(14):
            started = loop.time()
            queue.add_rate_limited(A)
            assert await queue.get() == A
            queue.done(A)
            delays.append(loop.time() - started)
        assert all(later > earlier for earlier, later in pairwise(delays[:9]))
        assert max(delays) <= LONGEST_DELAY * 1.25
        queue.forget(A)
        started = loop.time()
        queue.add_rate_limited(A)
        await queue.get()
        assert loop.time() - started < 1

    virtual_time.run(run())


def test_of_several_delays_the_earliest_counts() -> None:
    async def run() -> None:
        queue, loop = WorkQueue(Metrics()), asyncio.get_running_loop()
        for delay in (50.0, 5.0, 20.0):
            queue.add_after(A, delay)
        await queue.get()
        assert loop.time() == pytest.approx(5.0)
        queue.done(A)
        await asyncio.sleep(100)
        assert len(queue) == 0

    virtual_time.run(run())


def test_after_stop_nothing_is_handed_out() -> None:
    async def run() -> None:
        queue = WorkQueue(Metrics())
        waiting = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add_after(B, 1)
        queue.stop()
        queue.add(A)
        assert await waiting is None
        assert await queue.get() is None

    virtual_time.run(run())


def test_who_is_told_to_wait_is_woken_by_nothing_before() -> None:
    async def run() -> None:
        queue, loop = WorkQueue(Metrics()), asyncio.get_running_loop()
        queue.add(A)
        assert await queue.get() == A
        queue.add(A)
        queue.add_rate_limited(A, 7.0)
        queue.done(A)
        queue.add(A)
        queue.add(B)
        assert await queue.get() == B
        queue.done(B)
        loop.call_later(3.0, queue.add, A)
        assert await queue.get() == A
        assert loop.time() >= 7.0
        queue.done(A)
        queue.add(A)
        assert await queue.get() == A
        assert loop.time() < 8.0

    virtual_time.run(run())


def test_what_can_wait_comes_once_for_all_that_happened_and_after_what_is_being_made() -> None:
    async def run() -> None:
        queue, loop = WorkQueue(Metrics()), asyncio.get_running_loop()
        for _ in range(3):
            queue.add_soon(A)
        assert await queue.get() == A
        assert loop.time() == pytest.approx(QUIET)
        queue.done(A)
        began = loop.time()
        queue.add_soon(A)
        queue.add_soon(B)
        for _ in range(5):
            queue.calm.made(loop.time())
            await asyncio.sleep(QUIET / 2)
        assert len(queue) == 0
        assert {await queue.get(), await queue.get()} == {A, B}
        assert loop.time() - began == pytest.approx(3 * QUIET)
        queue.stop()

    virtual_time.run(run())


def test_what_can_wait_does_not_wait_for_ever() -> None:
    async def run() -> None:
        queue, loop = WorkQueue(Metrics()), asyncio.get_running_loop()
        queue.add_soon(A)
        while not len(queue):
            queue.calm.made(loop.time())
            await asyncio.sleep(QUIET / 2)
        assert PATIENCE <= loop.time() <= PATIENCE + QUIET
        queue.stop()

    virtual_time.run(run())
