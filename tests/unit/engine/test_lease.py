"""One leader at a time, and never two."""

import asyncio
import base64

import pytest
from deepseek_operator.controllers.decision import Object, Ref
from deepseek_operator.engine import errors
from deepseek_operator.engine.lease import DEADLINE, DURATION, Lease, LeaseLostError
from deepseek_operator.engine.master_key import master_key

from tests.faults import virtual_time
from tests.faults.connection import Fault, Log, WorldApi
from tests.faults.virtual_time import now
from tests.faults.world import World

REF = Ref("Lease", "system", "operator")


def lease(api: WorldApi, identity: str) -> Lease:
    return Lease(api, "system", "operator", identity, now)


def test_the_second_waits_until_the_first_lets_go() -> None:
    async def run() -> None:
        world, loop = World(), asyncio.get_running_loop()
        first, second = (lease(WorldApi(world, Log()), name) for name in ("first", "second"))
        standing_by: list[str] = []
        await first.acquire(lambda: standing_by.append("first"))
        renewal = asyncio.create_task(first.renew())
        waiting = asyncio.create_task(second.acquire(lambda: standing_by.append("second")))
        await asyncio.sleep(300)
        assert not waiting.done()
        assert standing_by == ["second"]
        renewal.cancel()
        await first.release()
        released = loop.time()
        await waiting
        assert loop.time() - released < 3
        assert world.get(REF)["spec"]["holderIdentity"] == "second"

    virtual_time.run(run())


def test_a_dead_leader_is_replaced_and_a_container_that_starts_anew_is_not_kept_waiting() -> None:
    async def run() -> None:
        world, loop = World(), asyncio.get_running_loop()
        await lease(WorldApi(world, Log()), "dead").acquire()
        started = loop.time()
        await lease(WorldApi(world, Log()), "dead").acquire()
        assert loop.time() - started < 1
        await lease(WorldApi(world, Log()), "next").acquire()
        assert DURATION <= loop.time() - started < DURATION + 5

    virtual_time.run(run())


def test_whoever_cannot_renew_gives_up_before_another_may_take_over() -> None:
    async def run() -> None:
        world, loop = World(), asyncio.get_running_loop()

        class Unreachable(WorldApi):
            down = False

            async def patch(self, ref: Ref, patch: Object) -> Object:
                if self.down:
                    await asyncio.sleep(1)
                    raise errors.ApiError(0, "NoAnswer", "down")
                return await super().patch(ref, patch)

        api = Unreachable(world, Log())
        held = lease(api, "first")
        await held.acquire()
        await asyncio.sleep(1)
        renewal = asyncio.create_task(held.renew())
        await asyncio.sleep(20)
        api.down = True
        started = loop.time()
        with pytest.raises(LeaseLostError):
            await renewal
        assert loop.time() - started <= DEADLINE + 1 < DURATION

    virtual_time.run(run())


def test_two_that_grasp_at_once_do_not_both_hold_it() -> None:
    async def run() -> None:
        world = World()
        both = [lease(WorldApi(world, Log()), name) for name in ("first", "second")]
        tasks = [asyncio.create_task(one.acquire()) for one in both]
        await asyncio.sleep(5)
        assert sorted(task.done() for task in tasks) == [False, True]
        for task in tasks:
            task.cancel()

    virtual_time.run(run())


@pytest.mark.parametrize("fault", [None, Fault.TIMEOUT_AFTER])
def test_the_master_key_is_made_once_and_kept(fault: Fault | None) -> None:
    async def run() -> None:
        world = World()
        api = WorldApi(world, Log({0: fault} if fault else {}))
        if fault:
            with pytest.raises(errors.ApiError):
                await master_key(api, "system")
        keys = await asyncio.gather(*(master_key(WorldApi(world, Log()), "system") for _ in range(3)))
        assert len(set(keys)) == 1
        assert len(keys[0]) == 32
        ref = Ref("Secret", "system", "deepseek-operator-master")
        world.patch(ref, {"data": {"master": base64.b64encode(b"short").decode()}})
        with pytest.raises(RuntimeError, match="delete it and start again"):
            await master_key(api, "system")

    virtual_time.run(run())
