"""The reference: the same path with nothing going wrong."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from deepseek_operator.controllers.decision import Ref

from tests.faults import virtual_time
from tests.faults.connection import Log
from tests.faults.oracles import assert_good_end
from tests.faults.scenario import life


@dataclass(frozen=True)
class Reference:
    """What a run without faults wrote, and where it ended."""

    writes: tuple[tuple[str, Ref], ...]
    end: dict[str, Any]
    created: Counter[Ref]


@pytest.fixture(scope="session")
def reference() -> Reference:
    """One run without faults."""

    async def run() -> Reference:
        log = Log()
        world, process = await life(log)
        writes = tuple(log.writes)
        await assert_good_end(world, log, process)
        return Reference(writes, world.snapshot(), Counter(world.created))

    return virtual_time.run(run())
