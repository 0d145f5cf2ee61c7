"""What kopf keeps and computes for handlers of changes, left out: this operator has none.

For every event kopf would copy the object four times to find out what has changed since the last one was handled, and
for every object it would keep a record for ever.
"""

from typing import Any

import kopf
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory


class NoProgress(kopf.ProgressStorage):
    """Handlers of events have no progress."""

    def fetch(self, **_: Any) -> None:
        """There is none."""

    def store(self, **_: Any) -> None:
        """Nothing to store."""

    def purge(self, **_: Any) -> None:
        """Nothing to purge."""

    def touch(self, **_: Any) -> None:
        """Nobody waits for it."""

    def clear(self, *, essence: Any) -> Any:
        """The essence, which holds nothing of ours."""
        return essence


class NoDiffBase(kopf.DiffBaseStorage):
    """Nothing is compared with what was handled before."""

    def build(self, **_: Any) -> Any:
        """An object without essence: never different."""
        return {}

    def fetch(self, **_: Any) -> None:
        """There is none."""

    def store(self, **_: Any) -> None:
        """Nothing to store."""


class NoMemories(ResourceMemories):
    """A new record for every event, gone with it: kopf 1.45 keeps about 2 KB for each object otherwise."""

    async def recall(self, *_: Any, **__: Any) -> ResourceMemory:
        """Empty."""
        return ResourceMemory()
