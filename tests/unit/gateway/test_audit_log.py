"""The log as requests see it: group commit, a disk that refuses, and what happens to requests then."""

import asyncio
import os
from pathlib import Path

import pytest
from deepseek_runtime.gateway.audit.log import AuditLog, AuditUnavailableError
from deepseek_runtime.gateway.audit.segment import numbers
from deepseek_runtime.gateway.audit.verify import verify
from deepseek_runtime.gateway.audit.writer import SegmentWriter

from tests.unit.gateway.world import read_records, until, world

GOOD = {"model": "chat", "prompt": "x"}


class Disk:
    """The real calls, counted; `full` lets half of a write through first, as a full disk does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.syncs = 0
        self._write, self._sync = os.write, os.fdatasync
        monkeypatch.setattr("deepseek_runtime.gateway.audit.writer.os.write", self.write)
        monkeypatch.setattr("deepseek_runtime.gateway.audit.writer.os.fdatasync", self.sync)

    def write(self, file: int, content: memoryview) -> int:
        if self.full and len(content) <= 50:
            raise OSError(28, "No space left on device")
        return self._write(file, content[:50] if self.full else content)

    def sync(self, file: int) -> None:
        self.syncs += 1
        self._sync(file)


async def test_concurrent_requests_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    log = AuditLog(tmp_path, 2000)
    running = asyncio.create_task(log.run())
    await until(lambda: log.writable)
    links = await asyncio.gather(*(log.append("intent", requestId=str(number)) for number in range(200)))
    log.close()
    await running
    assert sorted(link.seq for link in links) == list(range(2, 202))
    assert disk.syncs < 20
    report = verify(tmp_path)
    assert (report.problems, report.records, len(report.notes)) == ([], 202, 200)


async def test_segments_rotate(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, 500)
    running = asyncio.create_task(log.run())
    await until(lambda: log.writable)
    for number in range(20):
        await log.append("denied", number=number)
    log.close()
    await running
    assert len(numbers(tmp_path)) > 3
    assert not verify(tmp_path).problems
    with pytest.raises(AuditUnavailableError):
        await log.append("denied")


async def test_a_full_disk_refuses_and_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepseek_runtime.gateway.audit.log._RETRY_SECONDS", 0.05)
    disk = Disk(monkeypatch)
    async with world(tmp_path) as it:
        key = it.kubernetes.put_key()
        it.kubernetes.allow("reader")
        disk.full = True
        answers = await asyncio.gather(*(it.post(key, GOOD) for _ in range(5)))
        assert {(status, body["error"]["code"]) for status, body in answers} == {(503, "audit_unavailable")}
        assert not it.engine.requests
        async with it.http.get(f"{it.url}/health/ready") as response:
            assert response.status == 503
            assert "audit" in await response.text()
        disk.full = False
        await until(lambda: it.running.gateway.audit.writable)
        assert (await it.post(key, GOOD))[0] == 200
        directory = it.settings.replica_directory
    report = verify(directory)
    assert not report.problems
    assert any("5 requests were refused" in note for note in report.notes)


async def test_a_disk_that_fills_meanwhile_withholds_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    async with world(tmp_path) as it:
        key = it.kubernetes.put_key()
        it.kubernetes.allow("reader")
        complete = it.running.gateway.engines.complete

        async def fill(*arguments: object) -> bytes:
            disk.full = True
            return await complete(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(it.running.gateway.engines, "complete", fill)
        status, body = await it.post(key, GOOD)
        assert (status, body["error"]["code"]) == (503, "audit_unavailable")
        disk.full = False
        directory = it.settings.replica_directory
    assert [note for note in verify(directory).notes if "has no completion" in note]


async def test_nothing_is_ready_without_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    log = AuditLog(tmp_path / "file" / "log", 1000)
    running = asyncio.create_task(log.run())
    with pytest.raises(AuditUnavailableError):
        await log.append("intent")
    await asyncio.sleep(0.05)
    assert not log.writable
    log.close()
    await running


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SegmentWriter(tmp_path, 10_000)
    writer.write([{"kind": "started"}])
    disk = Disk(monkeypatch)
    disk.full = True
    with pytest.raises(OSError, match="No space"):
        writer.write([{"kind": "intent", "requestId": "x" * 100}])
    disk.full = False
    writer.write([{"kind": "stopped"}])
    writer.close()
    assert [record["kind"] for record in read_records(tmp_path)] == ["started", "stopped"]
    assert not verify(tmp_path).problems
