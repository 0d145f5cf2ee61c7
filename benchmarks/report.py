"""What a scenario has measured, as a table for people and as JSON for programs."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Target:
    """What a value must not exceed (`<=`) or fall short of (`>=`)."""

    sign: Literal["<=", ">="]
    bound: float

    def met(self, value: float) -> bool:
        """Whether a value is good enough."""
        return value <= self.bound if self.sign == "<=" else value >= self.bound

    def __str__(self) -> str:
        return f"{self.sign} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure. `spread` says how it varied: quartiles, extremes, or how many it was made of."""

    metric: str
    value: float
    unit: str
    spread: str = ""
    target: Target | None = None

    @property
    def passed(self) -> bool | None:
        """None where there is no target."""
        return self.target.met(self.value) if self.target else None

    def row(self) -> tuple[str, ...]:
        """Its cells in a table."""
        verdict = {True: "yes", False: "NO", None: ""}[self.passed]
        shown = f"{self.value:.0f}" if abs(self.value) >= 100 else f"{self.value:.3g}"
        return (self.metric, f"{shown} {self.unit}".strip(), self.spread, str(self.target or ""), verdict)

    def document(self) -> dict[str, Any]:
        """Its entry in the JSON file."""
        return {**asdict(self), "target": str(self.target) if self.target else None, "pass": self.passed}


def at_most(bound: float) -> Target:
    """A target from above."""
    return Target("<=", bound)


def at_least(bound: float) -> Target:
    """A target from below."""
    return Target(">=", bound)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, round(share * len(ordered) + 0.5) - 1))]


def quartiles(values: Sequence[float], unit: str) -> str:
    """The middle half and the extremes, as a spread."""
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0], values[0], values[0])
    return f"quartiles {low:.3g}-{high:.3g} {unit}, n={len(values)}, longest {max(values):.3g}"


HEAD = ("metric", "value", "spread", "target", "met")


def table(measurements: Sequence[Measurement]) -> str:
    """A Markdown table with aligned columns."""
    rows = [HEAD, *(measurement.row() for measurement in measurements)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def write(path: Path, conditions: dict[str, Any], measurements: Sequence[Measurement]) -> None:
    """The JSON file of one scenario: the conditions of the run, then what was measured."""
    document = {**conditions, "measurements": [measurement.document() for measurement in measurements]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")
