"""Several ways of doing the same, taken in turns: the machine's mood of a moment is everybody's."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

ROUNDS = 5


def in_turns(ways: Mapping[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Seconds that each takes in each round; every second round goes the other way round."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in list(ways)[:: 1 if number % 2 == 0 else -1]:
            began = time.perf_counter()
            ways[name]()
            taken[name].append(time.perf_counter() - began)
    return taken


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Round by round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def middle(values: Sequence[float], unit: str = "") -> tuple[float, str]:
    """The median, and the extremes as a spread."""
    return statistics.median(values), f"{min(values):.3g}-{max(values):.3g} {unit}".rstrip() + f", n={len(values)}"
