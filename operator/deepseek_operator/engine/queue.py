"""The work queue, with client-go's semantics (k8s.io/client-go/util/workqueue).

A key waits at most once, is worked on by one worker at a time, and comes again if it was added meanwhile. Each key has
a backoff of its own.
"""

import asyncio
import random
from collections import deque

from deepseek_operator.controllers.decision import Ref
from deepseek_operator.engine.metrics import Metrics
from deepseek_operator.engine.pacing import QUIET, Calm

FIRST_DELAY = 0.25
LONGEST_DELAY = 120.0


class WorkQueue:
    """Keys to reconcile. Times are the event loop's."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._ready: deque[Ref] = deque()
        self._since: dict[Ref, float] = {}
        """Keys that have to be worked on, with when they were added."""
        self._busy: dict[Ref, float] = {}
        self._failures: dict[Ref, int] = {}
        self._timers: dict[Ref, asyncio.TimerHandle] = {}
        self._barred: dict[Ref, float] = {}
        """Keys that the server has told to wait, until when."""
        self.calm = Calm()
        self._soon: dict[Ref, float] = {}
        """Keys that wait for calm, since when, in that order."""
        self._release: asyncio.TimerHandle | None = None
        self._wakeup = asyncio.Event()
        self._stopped = False

    def add(self, key: Ref) -> None:
        """Work on this key as soon as a worker is free."""
        if self._stopped or key in self._since:
            return
        now = asyncio.get_running_loop().time()
        if (left := self._barred.get(key, now) - now) > 0:
            self.add_after(key, left)
            return
        self._barred.pop(key, None)
        self._metrics.adds.inc()
        self._since[key] = now
        if key not in self._busy:
            self._enqueue(key)

    def add_soon(self, key: Ref) -> None:
        """Work on this key in a moment, once for all that happens until then, and after what is urgent."""
        if self._stopped or key in self._soon:
            return
        loop = asyncio.get_running_loop()
        self._soon[key] = loop.time()
        if self._release is None:
            self._release = loop.call_later(QUIET, self._release_calm)

    def add_after(self, key: Ref, delay: float) -> None:
        """Add the key in `delay` seconds; the earliest of several delays counts."""
        if self._stopped:
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= loop.time() + delay:
            return
        if timer is not None:
            timer.cancel()
        self._timers[key] = loop.call_later(delay, self._fire, key)

    def add_rate_limited(self, key: Ref, at_least: float = 0.0) -> None:
        """Add the key after its backoff, which doubles with each call until `forget`.

        Whatever wakes it meanwhile, it does not come before `at_least`.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self._metrics.retries.inc()
        backoff = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures, 20))
        if at_least > 0:
            self._barred[key] = asyncio.get_running_loop().time() + at_least
            self._since.pop(key, None)
        self.add_after(key, max(at_least, backoff * random.uniform(0.75, 1.25)))

    def forget(self, key: Ref) -> None:
        """The key's work succeeded: its backoff starts anew."""
        self._failures.pop(key, None)

    async def get(self) -> Ref | None:
        """The next key, to be given back with `done`; None after `stop`."""
        while not self._ready:
            if self._stopped:
                return None
            self._wakeup.clear()
            await self._wakeup.wait()
        key = self._ready.popleft()
        now = asyncio.get_running_loop().time()
        self._metrics.waited.observe(now - self._since.pop(key))
        self._metrics.depth.set(len(self._ready))
        self._busy[key] = now
        return key

    def done(self, key: Ref) -> None:
        """The worker is finished with the key; if it was added meanwhile, it is ready again."""
        self._metrics.worked.observe(asyncio.get_running_loop().time() - self._busy.pop(key))
        if key in self._since:
            self._enqueue(key)

    def stop(self) -> None:
        """Hand out nothing more; work going on may finish."""
        self._stopped = True
        self._ready.clear()
        self._since.clear()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._soon.clear()
        if self._release is not None:
            self._release.cancel()
        self._wakeup.set()

    def longest_running(self) -> float:
        """Seconds that the oldest work has been going on."""
        now = asyncio.get_running_loop().time()
        ages = [now - since for since in self._busy.values()]
        self._metrics.unfinished.set(sum(ages))
        self._metrics.longest.set(max(ages, default=0.0))
        return max(ages, default=0.0)

    def __len__(self) -> int:
        return len(self._ready)

    def _release_calm(self) -> None:
        """Add the keys that have waited long enough; the timer is set for the next one."""
        loop = asyncio.get_running_loop()
        self._release = None
        while self._soon:
            key, since = next(iter(self._soon.items()))
            wait = max(self.calm.wait(since, loop.time()), since + QUIET - loop.time())
            if wait > 0:
                self._release = loop.call_later(wait, self._release_calm)
                return
            del self._soon[key]
            self.add(key)

    def _fire(self, key: Ref) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _enqueue(self, key: Ref) -> None:
        self._ready.append(key)
        self._metrics.depth.set(len(self._ready))
        self._wakeup.set()
