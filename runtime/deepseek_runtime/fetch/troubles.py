"""What goes wrong on the way and may go right the next time: how long to wait, and when to give up."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from deepseek_runtime.job.errors import JobError


class TransientError(Exception):
    """An answer that does not come, is cut, or says "later"; `retry_after` is what the server asks for, in seconds."""

    def __init__(self, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class StoppedError(Exception):
    """Another thread ended the fetch."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: the first wait, the longest, the longest that a server may ask for, and without a byte until the end."""

    first: float = 1.0
    longest: float = 60.0
    asked: float = 3600.0
    total: float = 900.0


class Retries:
    """What troubles all connections now, and since when nothing has arrived. Safe to use from threads."""

    def __init__(
        self,
        patience: Patience,
        report: Callable[[TransientError], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`report` is told of each trouble before it is waited for."""
        self._patience = patience
        self._report = report
        self._clock = clock
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._heard = clock()
        self._not_before = 0.0
        self._trouble: TransientError | None = None

    @property
    def trouble(self) -> TransientError | None:
        """What keeps bytes from arriving; None while they arrive."""
        return self._trouble

    def heard(self) -> None:
        """Bytes arrived."""
        self._heard = self._clock()
        self._trouble = None

    def stop(self) -> None:
        """Let no thread wait any longer."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        """Whether the fetch has ended."""
        return self._stop.is_set()

    def wait(self, trouble: TransientError, attempt: int) -> None:
        """Wait before attempt number `attempt` (from 1): exponentially longer with full jitter, or as the server asks.

        Errors: JobError with the trouble's reason when nothing has arrived for too long; StoppedError.
        """
        patience, now = self._patience, self._clock()
        with self._lock:
            self._trouble = trouble
            if trouble.retry_after is not None:
                asked = min(trouble.retry_after, patience.asked)
                self._not_before = max(self._not_before, now + asked)
                self._heard = max(self._heard, now + asked)  # what is asked for is not held against the server
            elif now - self._heard > patience.total:
                raise JobError(
                    trouble.reason,
                    f"Nothing has arrived for {patience.total / 60:.0f} minutes: {trouble.message}. What has been "
                    "fetched is kept; the Job goes on from there when it is tried again.",
                )
            pause = random.uniform(0, min(patience.longest, patience.first * 2 ** min(attempt - 1, 16)))
            pause += max(0.0, self._not_before - now)
        if self._report is not None:
            self._report(trouble)
        if self._stop.wait(pause):
            raise StoppedError
