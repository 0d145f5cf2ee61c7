"""An event loop whose clock jumps to the next timer: hours of backoff cost nothing, and runs repeat exactly.

Several simulated processes may share it, and each can be frozen: nothing of it runs until it thaws, as when its machine
is suspended.
"""

import asyncio
import contextvars
import random
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
PROCESS: contextvars.ContextVar[str] = contextvars.ContextVar("process", default="")
"""The simulated process that the running code belongs to; empty: none that can be frozen."""


class _Selector(selectors.SelectSelector):
    """Never waits: the time it would have waited is added to the clock."""

    clock = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("deadlock: nothing is scheduled")
        self.clock += max(0.0, timeout)
        return super().select(0)


class _Step:
    """One callback of a process: put aside while the process is frozen."""

    handle: asyncio.Handle

    def __init__(
        self, loop: "VirtualLoop", context: contextvars.Context, callback: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        self._loop, self.context, self._callback, self._args = loop, context, callback, args

    def __call__(self) -> None:
        if self.handle.cancelled():
            return
        if (held := self._loop.frozen.get(self.context[PROCESS])) is not None:
            held.append(self)
        else:
            self._callback(*self._args)


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` is virtual; sockets are of no use here."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        self.frozen: dict[str, list[_Step]] = {}
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.clock

    def freeze(self, process: str) -> None:
        """From now on this process gets no time."""
        self.frozen.setdefault(process, [])

    def thaw(self, process: str) -> None:
        """All that became due meanwhile happens now, in its order."""
        for step in self.frozen.pop(process):
            super().call_soon(step, context=step.context)

    def call_soon(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> asyncio.Handle:
        context = context if context is not None else contextvars.copy_context()
        if not context.get(PROCESS):
            return super().call_soon(callback, *args, context=context)
        step = _Step(self, context, callback, args)
        step.handle = super().call_soon(step, context=context)
        return step.handle

    def call_at(
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        context = context if context is not None else contextvars.copy_context()
        if not context.get(PROCESS):
            return super().call_at(when, callback, *args, context=context)
        step = _Step(self, context, callback, args)
        step.handle = timer = super().call_at(when, step, context=context)
        return timer


def now() -> datetime:
    """The virtual time of day."""
    return EPOCH + timedelta(seconds=asyncio.get_running_loop().time())


def run(main: Coroutine[Any, Any, T], seed: int = 0) -> T:
    """Run in a virtual loop of its own; the jitter of backoffs comes from the seed."""
    random.seed(seed)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
