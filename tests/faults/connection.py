"""An operator process's connection to the world, on which any write can be made to go wrong."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from enum import Enum
from typing import Any

from deepseek_operator.api.names import FIELD_MANAGER, MANAGED_BY, Label
from deepseek_operator.controllers.decision import Object, Ref
from deepseek_operator.engine import errors
from deepseek_operator.engine.kinds import Kind

from tests.faults.merge import copied
from tests.faults.world import BESIDE, World

NAMESPACE = "system"
"""The operator's own."""
LATENCY = 0.002
RETRY_AFTER = 3.0


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
    """All reads and writes of all processes of one run but events and leases, and the faults that are to happen.

    Faults are set by the number of the write or the read.
    """

    def __init__(self, faults: dict[int, Fault] | None = None, failing_reads: Collection[int] = ()) -> None:
        self.writes: list[tuple[str, Ref]] = []
        self.times: list[float] = []
        """When each write was tried."""
        self.reads: list[str] = []
        self.faults = dict(faults or {})
        self.failing_reads = set(failing_reads)
        self.interrupts: dict[tuple[int, str], Callable[[], None]] = {}
        """What happens `before` or `after` a write of this number, while the process waits for its answer."""

    def write(self, verb: str, ref: Ref) -> Fault | None:
        """A write that is about to happen, and what goes wrong with it."""
        self.writes.append((verb, ref))
        self.times.append(asyncio.get_running_loop().time())
        return self.faults.pop(len(self.writes) - 1, None)

    def read(self, what: str) -> None:
        """A read; raises where it is to fail."""
        self.reads.append(what)
        if len(self.reads) - 1 in self.failing_reads:
            self.failing_reads.remove(len(self.reads) - 1)
            raise errors.from_status(500, {"reason": "InternalError", "message": "injected"}, None)


class RandomLog(Log):
    """Every write and every read may go wrong, in any way, until `end`; the seed says which do."""

    def __init__(self, seed: int, share: float, end: float) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self._share = share
        self._end = end

    def write(self, verb: str, ref: Ref) -> Fault | None:
        super().write(verb, ref)
        return self._random.choice(list(Fault)) if self._unlucky() else None

    def read(self, what: str) -> None:
        super().read(what)
        if self._unlucky():
            raise errors.from_status(
                self._random.choice((429, 500, 503)), {"reason": "Injected", "message": "injected"}, 1.0
            )

    def _unlucky(self) -> bool:
        return asyncio.get_running_loop().time() < self._end and self._random.random() < self._share


class WorldApi:
    """The `Api` of one process, for as long as it lives."""

    def __init__(self, world: World, log: Log) -> None:
        self._world = world
        self._log = log
        self._doomed = False
        self.killed = asyncio.Event()

    async def get(self, ref: Ref) -> Object:
        await self._read(f"get {ref}", ref.kind)
        if ref.kind == "Secret" and ref.namespace != NAMESPACE:
            raise errors.ForbiddenError(403, "Forbidden", f"{ref}: the chart grants nothing on tenants' Secrets")
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
        await self._read(f"list {kind.name}", kind.name)
        return [
            {"metadata": copied(obj["metadata"])}
            for ref, obj in self._world.objects.items()
            if ref.kind == kind.name and (not namespace or ref.namespace == namespace) and selected(kind, obj)
        ]

    async def warnings(self, namespace: str, uid: str | None = None) -> AsyncIterator[Object]:
        await self._read(f"warnings {uid or namespace}", "Event")
        nothing: Sequence[Object] = ()
        for event in nothing:
            yield event

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

    async def _read(self, what: str, kind: str) -> None:
        await self._answer()
        if kind != "Lease":
            self._log.read(what)

    async def _write(self, verb: str, ref: Ref, do: Callable[[], Object]) -> Object:
        await self._answer()
        if ref.kind in BESIDE:
            return copied(do())
        fault = self._log.write(verb, ref)
        number = len(self._log.writes) - 1
        await self._interrupted(number, "before")
        match fault:
            case Fault.KILL_BEFORE:
                self.kill()
                raise Killed
            case Fault.CONFLICT | Fault.INVALID | Fault.TOO_MANY | Fault.INTERNAL:
                raise errors.from_status(int(fault.value), {"reason": fault.name, "message": "injected"}, RETRY_AFTER)
        answer = copied(do())
        await self._interrupted(number, "after")
        match fault:
            case Fault.KILL_LOST:
                self.kill()
                raise Killed
            case Fault.TIMEOUT_AFTER:
                raise errors.ApiError(0, "NoAnswer", "injected")
            case Fault.KILL_AFTER:
                self._doomed = True
        return answer

    async def _interrupted(self, number: int, moment: str) -> None:
        if (happen := self._log.interrupts.pop((number, moment), None)) is not None:
            happen()
            await asyncio.sleep(0)  # where the process was frozen, this takes until it thaws
            if self.killed.is_set():
                raise Killed


def selected(kind: Kind, obj: Object) -> bool:
    """Whether the kind's watch shows this object."""
    return kind.selector is None or (obj["metadata"].get("labels") or {}).get(Label.MANAGED_BY) == MANAGED_BY
