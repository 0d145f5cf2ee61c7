"""Seeds, what goes on without faults, and the watch over secrets.

`make faults SEED=7 RUNS=20` is the long form: every point of every journey, and seeds 7 to 26 of what is random.
"""

import functools
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from deepseek_operator.controllers.decision import Ref

from tests.faults import secrets, virtual_time
from tests.faults.connection import Log
from tests.faults.journeys import JOURNEYS, Journey, travel
from tests.faults.oracles import assert_good_end

SHORT_SEEDS = 4
SHORT_POINTS = 3
"""Of the writes of a journey, those at which the short form lets something go wrong."""

Points = Callable[[int, str], Sequence[int]]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--faults-seed", type=int, default=0, help="the first seed")
    group.addoption("--faults-runs", type=int, default=0, help="the long form, with so many seeds")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The seed stands in the test's id, by which it can be run again."""
    if "seed" in metafunc.fixturenames:
        first, runs = _seeds(metafunc.config)
        seeds = range(first, first + (runs or SHORT_SEEDS))
        metafunc.parametrize("seed", seeds, ids=[f"seed{seed}" for seed in seeds])
    if "journey" in metafunc.fixturenames:
        metafunc.parametrize("journey", JOURNEYS, ids=str)


def pytest_report_header(config: pytest.Config) -> str:
    first, runs = _seeds(config)
    again = f"python -m pytest tests/faults --faults-seed={first} --faults-runs={max(1, runs)}"
    return f"faults: {'long' if runs else 'short'} form, seed {first}; the long form of it: {again}"


@pytest.fixture
def points(request: pytest.FixtureRequest) -> Points:
    """Of so many points those to be tried: all in the long form, in the short one a few, by the seed and a salt."""
    first, runs = _seeds(request.config)

    def chosen(count: int, salt: str) -> Sequence[int]:
        if runs or count <= SHORT_POINTS:
            return range(count)
        return sorted(random.Random(f"{first} {salt}").sample(range(count), SHORT_POINTS))

    return chosen


@pytest.fixture
def patience(request: pytest.FixtureRequest) -> int:
    """How many times larger the long form is."""
    return 20 if _seeds(request.config)[1] else 1


@dataclass(frozen=True)
class Reference:
    """What a journey without faults wrote and read, and where it ended."""

    writes: tuple[tuple[str, Ref], ...]
    reads: tuple[str, ...]
    end: dict[str, Any]
    created: Counter[Ref]


@functools.cache
def undisturbed(journey: Journey) -> Reference:
    """One run of a journey without faults."""

    async def run() -> Reference:
        log = Log()
        world, process = await travel(journey, log)
        writes, reads = tuple(log.writes), tuple(log.reads)
        await assert_good_end(world, log, process)
        return Reference(writes, reads, world.snapshot(), Counter(world.created))

    return virtual_time.run(run())


@pytest.fixture
def reference() -> Reference:
    """The quickstart without faults."""
    return undisturbed(JOURNEYS[0])


@pytest.fixture(autouse=True)
def _no_secret_is_logged() -> Iterator[None]:
    """Nothing that the operator logs, at any level, holds a Secret's value."""
    logger, seen = logging.getLogger("deepseek_operator"), _Watch()
    level = logger.level
    logger.addHandler(seen)
    logger.setLevel(logging.DEBUG)
    yield
    logger.removeHandler(seen)
    logger.setLevel(level)
    assert seen.leaks == []


class _Watch(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.leaks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        self.leaks += [text for mark in secrets.MARKS if mark in text]


def _seeds(config: pytest.Config) -> tuple[int, int]:
    """The first seed, and how many of them; none in the short form, and where other tests are run as well."""
    return config.getoption("faults_seed", 0), config.getoption("faults_runs", 0)
