"""What a run shows of itself: losses, speed, time."""

import time
from collections import deque

import torch

from deepseek_runtime.job.errors import DataError
from deepseek_runtime.train.checkpoint import LOSSES_KEPT

SPEED_SECONDS = 20.0
LOSS_STEPS = 20


class Meter:
    """Takes each step's loss and gradient norm as tensors and reads them rarely: reading one waits for the device."""

    def __init__(self, step: int, tokens_per_step: float, seconds: float, losses: list[float]) -> None:
        self.step = step
        self.losses = deque(losses, maxlen=LOSSES_KEPT)
        self._tokens_per_step = tokens_per_step
        self._earlier = seconds
        self._began = time.monotonic()
        self._unread: list[torch.Tensor] = []
        self._marks: deque[tuple[float, int]] = deque([(self._began, step)])

    def add(self, loss: torch.Tensor, norm: torch.Tensor) -> None:
        """One more step."""
        self._unread.append(torch.stack((loss, norm)))

    def read(self) -> None:
        """Take in what was added; DataError where a number is not finite any more."""
        for loss, norm in torch.stack(self._unread).tolist() if self._unread else ():
            self.step += 1
            if not (abs(loss) < float("inf") and abs(norm) < float("inf")):
                raise DataError(
                    "Diverged",
                    f"At step {self.step} the loss was {loss} and the gradient's norm {norm}, after a loss of "
                    f"{self.loss:.3f}. Make a run with a lower learningRate, more warmupSteps or a lower gradientClip.",
                )
            self.losses.append(loss)
        self._unread.clear()
        now = time.monotonic()
        self._marks.append((now, self.step))
        while len(self._marks) > 2 and now - self._marks[0][0] > SPEED_SECONDS:
            self._marks.popleft()

    @property
    def loss(self) -> float:
        """Mean over the last LOSS_STEPS steps; one batch's loss says little."""
        recent = list(self.losses)[-LOSS_STEPS:]
        return sum(recent) / len(recent) if recent else float("nan")

    @property
    def tokens_per_second(self) -> float | None:
        """Over about the last SPEED_SECONDS."""
        (start, first), (end, last) = self._marks[0], self._marks[-1]
        return (last - first) * self._tokens_per_step / (end - start) if last > first else None

    @property
    def seconds(self) -> float:
        """Of training, over all pods."""
        return self._earlier + time.monotonic() - self._began
