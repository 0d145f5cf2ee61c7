"""How often live figures may be written into statuses, for the sake of the API server."""

EACH = 15.0
"""Seconds between two writes to one resource that change nothing but live figures."""
OVERALL = 20.0
"""Such writes in one second, over all resources."""


class Pacer:
    """Times are the event loop's."""

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
