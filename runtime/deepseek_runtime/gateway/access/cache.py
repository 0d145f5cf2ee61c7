"""Answers of the API server, remembered for a short time."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from deepseek_runtime.gateway.kube.client import UnreachableError

FRESH_SECONDS = 30.0
NEGATIVE_SECONDS = 5.0
_RETRY_SECONDS = 5.0

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class _Entry(Generic[V]):
    value: V
    asked_at: float
    try_again_at: float = 0.0  # while the API server is away


@dataclass(frozen=True, slots=True)
class Remembered(Generic[V]):
    """An answer. `cached`: not asked for just now; `stale`: too old, used because the API server is unreachable."""

    value: V
    cached: bool = False
    stale: bool = False


class AnswerCache(Generic[K, V]):
    """Bounded; one question at a time for each key, whoever waits for it.

    Positive answers last 30 s, negative ones 5 s and in a space of their own, so that guesses push nothing out.
    Only positive answers outlive that, up to `stale_seconds`, and only while the API server is unreachable.
    """

    def __init__(
        self,
        positive: Callable[[V], bool],
        stale_seconds: float,
        size: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._positive = positive
        self._stale_seconds = stale_seconds
        self._size = size
        self._clock = clock
        self._allowed: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._denied: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._asking: dict[K, asyncio.Task[Remembered[V]]] = {}

    async def get(self, key: K, ask: Callable[[], Awaitable[V]], fresh_seconds: float = FRESH_SECONDS) -> Remembered[V]:
        """The remembered answer, or a new one; errors: what `ask` raises, UnreachableError without a stale answer."""
        if (found := self._fresh(key, fresh_seconds)) is not None:
            return found
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(key, ask))
            self._asking[key] = task
            task.add_done_callback(lambda done: self._asked(key, done))
        # Shielded: a caller that goes away must not take the answer from those who wait for the same.
        return await asyncio.shield(task)

    def _asked(self, key: K, task: asyncio.Task[Remembered[V]]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # seen, also where everybody who asked has gone away

    def _fresh(self, key: K, fresh_seconds: float) -> Remembered[V] | None:
        now = self._clock()
        if (entry := self._allowed.get(key)) is not None:
            age = now - entry.asked_at
            if age <= fresh_seconds:
                return Remembered(entry.value, cached=True)
            if now < entry.try_again_at and age <= self._stale_seconds:
                return Remembered(entry.value, cached=True, stale=True)
        elif (entry := self._denied.get(key)) is not None and now - entry.asked_at <= NEGATIVE_SECONDS:
            return Remembered(entry.value, cached=True)
        return None

    async def _ask(self, key: K, ask: Callable[[], Awaitable[V]]) -> Remembered[V]:
        asked_at = self._clock()
        try:
            value = await ask()
        except UnreachableError:
            entry = self._allowed.get(key)
            if entry is None or asked_at - entry.asked_at > self._stale_seconds:
                raise
            entry.try_again_at = self._clock() + _RETRY_SECONDS
            return Remembered(entry.value, cached=True, stale=True)
        self._allowed.pop(key, None)
        self._denied.pop(key, None)
        space = self._allowed if self._positive(value) else self._denied
        space[key] = _Entry(value, asked_at)
        if len(space) > self._size:
            space.popitem(last=False)
        return Remembered(value)
