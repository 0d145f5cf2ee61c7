"""However much has to be looked at, the rest of the process has its turn: the lease above all."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from deepseek_operator.api.names import MODEL
from deepseek_operator.controllers.decision import Object, Ref, Settings
from deepseek_operator.engine import sweep
from deepseek_operator.engine.api import Api
from deepseek_operator.engine.kinds import Kind
from deepseek_operator.engine.metrics import Metrics
from deepseek_operator.engine.queue import WorkQueue
from deepseek_operator.engine.reconcile import Reconciler
from deepseek_operator.engine.store import Store
from deepseek_operator.engine.sweep import Sweep

from tests.unit.engine.conftest import Plain, resource

COUNT = 200


class Listing:
    """A server that has what the store has, and is asked for nothing else."""

    def __init__(self, there: list[Object]) -> None:
        self.there = there
        self.lists = 0

    async def list_metadata(self, kind: Kind, namespace: str) -> list[Object]:
        self.lists += kind.name == MODEL
        return self.there if kind.name == MODEL else []


@pytest.fixture
def many(store: Store, woken: list[Ref]) -> list[Object]:
    """Resources that are as they should be."""
    found = [resource(f"model-{number}") for number in range(COUNT)]
    for each in found:
        store.put(each)
    woken.clear()
    return found


async def test_work_that_writes_nothing_does_not_hold_up_the_process(store: Store, many: list[Object]) -> None:
    metrics = Metrics()
    queue = WorkQueue(metrics)
    settings = Settings("system", "image", "http://gateway", bytes(32))
    controllers = {MODEL: Plain(MODEL)}
    reconciler = Reconciler(
        cast("Api", None), store, queue, controllers, settings, metrics, lambda: datetime(2026, 1, 1, tzinfo=UTC)
    )
    for each in many:
        queue.add(Ref.of(each))
    working = asyncio.create_task(reconciler.work())
    longest, left = 0, COUNT
    while left:
        await asyncio.sleep(0)
        longest, left = max(longest, left - len(queue)), len(queue)
    queue.stop()
    await working
    assert longest == 1


async def test_a_sweep_wakes_a_few_at_a_time(
    store: Store, many: list[Object], woken: list[Ref], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "_PATIENCE", 0)
    monkeypatch.setattr(sweep, "_PAUSE", 0)
    server: Any = Listing(many)
    sweeping = asyncio.create_task(Sweep(server, store, woken.append, "system").once())
    longest, seen = 0, 0
    while not sweeping.done():
        await asyncio.sleep(0)
        longest, seen = max(longest, len(woken) - seen), len(woken)
    await sweeping
    assert sorted(ref.name for ref in woken) == sorted(each["metadata"]["name"] for each in many)
    assert longest <= 10
