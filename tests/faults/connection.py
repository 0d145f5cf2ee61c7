"""An operator process's connection to the world, on which any write can be made to go wrong."""

import asyncio
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from deepseek_operator.api.names import FIELD_MANAGER, MANAGED_BY, Label
from deepseek_operator.controllers.decision import Object, Ref
from deepseek_operator.engine import errors
from deepseek_operator.engine.kinds import Kind

from tests.faults.merge import copied
from tests.faults.world import World

LATENCY = 0.002


class Killed(BaseException):
    """The process is dead: nothing may catch this."""


class Fault(Enum):
    """What happens at a write."""

    KILL_BEFORE = "killed before the write"
    KILL_AFTER = "killed after the answer"
    KILL_LOST = "killed before the answer"
    CONFLICT = 409
    INVALID = 422
    TOO_MANY = 429
    INTERNAL = 500
    TIMEOUT_AFTER = "written, but no answer"


class Log:
    """All writes of all processes of one run but events, and the faults that are to happen, by number of the write."""

    def __init__(self, faults: dict[int, Fault] | None = None) -> None:
        self.writes: list[tuple[str, Ref]] = []
        self.faults = dict(faults or {})

    def next(self, verb: str, ref: Ref) -> Fault | None:
        if ref.kind == "Event":
            return None
        self.writes.append((verb, ref))
        return self.faults.pop(len(self.writes) - 1, None)


class WorldApi:
    """The `Api` of one process, for as long as it lives."""

    def __init__(self, world: World, log: Log) -> None:
        self._world = world
        self._log = log
        self._doomed = False
        self.killed = asyncio.Event()

    async def get(self, ref: Ref) -> Object:
        await self._answer()
        return copied(self._world.get(ref))

    async def create(self, obj: Object) -> Object:
        return await self._write("create", Ref.of(obj), lambda: self._world.create(obj, manager=FIELD_MANAGER))

    async def apply(self, obj: Object, *, force: bool, subresource: str = "") -> Object:
        verb = f"apply {subresource}".strip()
        return await self._write(
            verb, Ref.of(obj), lambda: self._world.apply(obj, force=force, subresource=subresource)
        )

    async def patch(self, ref: Ref, patch: dict[str, Any]) -> Object:
        return await self._write("patch", ref, lambda: self._world.patch(ref, patch))

    async def delete(self, ref: Ref, uid: str) -> None:
        def delete() -> Object:
            self._world.delete(ref, uid)
            return {}

        await self._write("delete", ref, delete)

    async def list_metadata(self, kind: Kind, namespace: str) -> Sequence[Object]:
        await self._answer()
        return [
            {"metadata": copied(obj["metadata"])}
            for ref, obj in self._world.objects.items()
            if ref.kind == kind.name and (not namespace or ref.namespace == namespace) and selected(kind, obj)
        ]

    async def warnings(self, namespace: str, uid: str) -> Sequence[Object]:
        await self._answer()
        return []

    def kill(self) -> None:
        """kill -9: no call returns any more."""
        self.killed.set()

    async def _answer(self) -> None:
        if self._doomed:
            self.kill()
        if self.killed.is_set():
            raise Killed
        await asyncio.sleep(LATENCY)
        if self.killed.is_set():
            raise Killed

    async def _write(self, verb: str, ref: Ref, do: Callable[[], Object]) -> Object:
        await self._answer()
        match fault := self._log.next(verb, ref):
            case Fault.KILL_BEFORE:
                self.kill()
                raise Killed
            case Fault.CONFLICT | Fault.INVALID | Fault.TOO_MANY | Fault.INTERNAL:
                raise errors.from_status(int(fault.value), {"reason": fault.name, "message": "injected"}, 3.0)
        answer = copied(do())
        match fault:
            case Fault.KILL_LOST:
                self.kill()
                raise Killed
            case Fault.TIMEOUT_AFTER:
                raise errors.ApiError(0, "NoAnswer", "injected")
            case Fault.KILL_AFTER:
                self._doomed = True
        return answer


def selected(kind: Kind, obj: Object) -> bool:
    """Whether the kind's watch shows this object."""
    return kind.selector is None or (obj["metadata"].get("labels") or {}).get(Label.MANAGED_BY) == MANAGED_BY
