"""When statuses and events may be written, for the sake of the API server and of what matters more."""

import asyncio

EACH = 15.0
"""Seconds between two writes to one resource that change nothing but live figures."""
OVERALL = 20.0
"""Such writes in one second, over all resources."""
QUIET = 0.1
"""Seconds without a new child after which statuses and events have their turn."""
PATIENCE = 1.0
"""Seconds that they wait at most."""


class Pacer:
    """Live figures: each resource's now and then, and not all at once. Times are the event loop's."""

    def __init__(self, now: float) -> None:
        self._start = now
        self._last: dict[str, float] = {}
        self._slot = now

    def delay(self, uid: str, now: float) -> float:
        """Seconds to wait until this resource's figures may be written; 0 reserves the write.

        After a start all resources wait their turn, for nothing has been heard of the pods yet.
        """
        wait = self._last.get(uid, self._start) + EACH - now
        if wait <= 0 and (wait := self._slot - now) <= 0:
            self._slot = now + 1 / OVERALL
            self.written(uid, now)
            return 0.0
        return wait

    def written(self, uid: str, now: float) -> None:
        """The status was written at this time, figures and all."""
        self._last.pop(uid, None)
        self._last[uid] = now
        while now - self._last[oldest := next(iter(self._last))] > EACH:
            del self._last[oldest]


class Calm:
    """Statuses and events give way to children: what runs is waited for, what tells of it can come a moment later.

    A status that comes after its children have been seen is also written once instead of twice. Times are the event
    loop's.
    """

    def __init__(self) -> None:
        self._made = float("-inf")

    def made(self, now: float) -> None:
        """Children of some resource were made or changed."""
        self._made = now

    def wait(self, since: float, now: float) -> float:
        """Seconds that something which waits since then has still to wait; 0 or less: its turn has come."""
        return min(self._made + QUIET, since + PATIENCE) - now

    async def come(self, since: float) -> None:
        """Until the turn of what waits since then."""
        while True:
            if (wait := self.wait(since, asyncio.get_running_loop().time())) <= 0:
                return
            await asyncio.sleep(wait)
