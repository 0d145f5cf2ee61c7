"""The time left follows the phase's own rate."""

from deepseek_runtime.job.progress import ProgressMeter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_time_left_is_at_the_rate_since_the_phase_began() -> None:
    clock = Clock()
    meter = ProgressMeter("x", clock)
    assert meter.snapshot().remaining_seconds is None
    clock.now = 1000.0
    meter.update("step", unit="steps", done=500, total=1000)  # resumed: the first 500 were another process's
    assert meter.snapshot().remaining_seconds is None
    clock.now = 1010.0
    meter.update("step", unit="steps", done=600, total=1000, loss=2.5)
    assert meter.snapshot().remaining_seconds == 40.0
    clock.now = 1015.0
    assert meter.snapshot().remaining_seconds == 35.0
    clock.now = 5000.0
    assert meter.snapshot().remaining_seconds == 0.0
    assert meter.snapshot().loss == 2.5


def test_a_new_phase_is_timed_from_its_beginning() -> None:
    clock = Clock()
    meter = ProgressMeter("x", clock)
    meter.update("slow", unit="bytes", done=1, total=100)
    clock.now += 1000
    meter.update("slow", unit="bytes", done=2, total=100)
    meter.update("fast", unit="bytes", done=0, total=100)
    clock.now += 1
    meter.update("fast", unit="bytes", done=50, total=100)
    assert meter.snapshot().remaining_seconds == 1.0
