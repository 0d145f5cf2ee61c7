"""The audit log as requests see it: `append` returns when the record is durable.

Group commit: while one batch is being synced the records of all other requests gather for the next.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepseek_runtime.gateway.audit.chain import Link
from deepseek_runtime.gateway.audit.writer import SegmentWriter

log = logging.getLogger(__name__)

_RETRY_SECONDS = 5.0
Clock = Callable[[], datetime]


class AuditUnavailableError(Exception):
    """The record is not in the log: nothing may be forwarded."""


def utc_now() -> datetime:
    """The time now, in UTC."""
    return datetime.now(UTC)


class AuditLog:
    """One replica's log. `run` must be running for anything to be written."""

    def __init__(self, directory: Path, segment_bytes: int, clock: Clock = utc_now) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._pending: list[tuple[dict[str, Any], asyncio.Future[Link]]] = []
        self._wake = asyncio.Event()
        self._writer: SegmentWriter | None = None
        self._refused = 0
        self._closing = False

    @property
    def writable(self) -> bool:
        """Whether the last thing that was tried succeeded."""
        return self._writer is not None

    async def append(self, kind: str, **fields: Any) -> Link:
        """Write a record and wait until it is durable; errors: AuditUnavailableError."""
        if self._writer is None or self._closing:
            self._refused += 1
            raise AuditUnavailableError
        record = {"time": self._clock().isoformat(timespec="milliseconds"), "kind": kind, **fields}
        future: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        self._pending.append((record, future))
        self._wake.set()
        return await future

    async def run(self) -> None:
        """Write batches until `close`; while the disk refuses, try again every five seconds."""
        while not (self._closing and not self._pending):
            if self._writer is None and not await self._open():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), _RETRY_SECONDS)
                self._wake.clear()
                if self._closing:
                    return
                continue
            await self._wake.wait()
            self._wake.clear()
            if batch := self._pending:
                self._pending = []
                await self._commit(batch)
        if self._writer is not None:
            await self._finish(self._writer)

    def close(self) -> None:
        """Let `run` write what is pending, and end."""
        self._closing = True
        self._wake.set()

    async def _open(self) -> bool:
        try:
            writer = await asyncio.to_thread(SegmentWriter, self._directory, self._segment_bytes)
        except OSError as error:
            log.critical("audit log %s cannot be opened: %s", self._directory, error)
            return False
        torn = [tail.to_record() for tail in writer.torn]
        started = {"time": self._now(), "kind": "started", "torn": torn, "refused": self._refused}
        try:
            await asyncio.to_thread(writer.write, [started])
        except OSError as error:
            log.critical("audit log %s cannot be written: %s", self._directory, error)
            writer.close()
            return False
        for tail in torn:
            log.warning("audit log: %(length)d torn bytes at the end of %(segment)s are kept and recorded", tail)
        self._refused = 0
        self._writer = writer
        log.info("audit log %s: record %d, head %s", self._directory, writer.link.seq, writer.link.hash)
        return True

    async def _commit(self, batch: list[tuple[dict[str, Any], asyncio.Future[Link]]]) -> None:
        assert self._writer is not None  # noqa: S101 only `run` calls, with a writer
        try:
            links = await asyncio.to_thread(self._writer.write, [record for record, _ in batch])
        except OSError as error:
            log.critical("audit log %s cannot be written: %s", self._directory, error)
            self._writer.close()
            self._writer = None
            refused = [*batch, *self._pending]
            self._pending = []
            self._refused += len(refused)
            for _, future in refused:
                if not future.done():
                    future.set_exception(AuditUnavailableError())
            return
        for (_, future), link in zip(batch, links, strict=True):
            if not future.done():
                future.set_result(link)

    async def _finish(self, writer: SegmentWriter) -> None:
        try:
            await asyncio.to_thread(writer.write, [{"time": self._now(), "kind": "stopped"}])
        except OSError as error:
            log.critical("audit log %s cannot be closed properly: %s", self._directory, error)
        log.info("audit log %s: record %d, head %s", self._directory, writer.link.seq, writer.link.hash)
        writer.close()
        self._writer = None

    def _now(self) -> str:
        return self._clock().isoformat(timespec="milliseconds")
