"""Keeps the latest figures of a Job and works out the time left."""

import threading
from collections.abc import Callable

from deepseek_runtime.wire.progress import Examples, Progress, Trouble


class ProgressMeter:
    """The time left is what remains at the phase's own rate: since the phase began, and from where it began.

    A resumed phase starts in the middle, so what an earlier process did counts for nothing. Safe to use from threads.
    """

    def __init__(self, identity: str, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._progress = Progress(identity=identity, phase="starting", unit="steps", done=0, total=0)
        self._began = self._seen = (clock(), 0)  # time and units at the phase's beginning, and last

    def update(
        self,
        phase: str,
        *,
        unit: str,
        done: int,
        total: int,
        tokens_per_second: float | None = None,
        bytes_per_second: float | None = None,
        loss: float | None = None,
        learning_rate: float | None = None,
        checkpoint_step: int | None = None,
        examples: Examples | None = None,
        trouble: Trouble | None = None,
    ) -> None:
        """Replace the figures. A new phase, or one that goes back, is timed from here."""
        now = self._clock()
        with self._lock:
            old = self._progress
            if (old.phase, old.unit) != (phase, unit) or done < old.done:
                self._began = (now, done)
            self._seen = (now, done)
            self._progress = Progress(
                identity=old.identity,
                phase=phase,
                unit=unit,
                done=done,
                total=total,
                tokens_per_second=tokens_per_second,
                bytes_per_second=bytes_per_second,
                loss=loss,
                learning_rate=learning_rate,
                checkpoint_step=checkpoint_step,
                examples=examples,
                trouble=trouble,
            )

    def snapshot(self) -> Progress:
        """The figures as of now; `remaining_seconds` is absent until the phase has a rate."""
        with self._lock:
            progress, (began, first), (seen, last) = self._progress, self._began, self._seen
        if last <= first or seen <= began:
            return progress
        left = (progress.total - last) * (seen - began) / (last - first) - (self._clock() - seen)
        return progress.model_copy(update={"remaining_seconds": round(max(0.0, left), 1)})
