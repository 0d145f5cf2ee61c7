"""Where a Job says how far it is."""

from typing import Protocol

from deepseek_runtime.wire.progress import Examples, Trouble


class Reporter(Protocol):
    """Takes the latest figures; cheap enough to be called at every step."""

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
        """Replace what is shown; the time left follows from `done`, `total` and the time since the phase began."""
        ...


class Silent:
    """A Reporter for who waits for the return."""

    def update(self, phase: str, **figures: object) -> None:
        """Nothing."""
