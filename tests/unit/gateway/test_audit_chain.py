"""The log on disk: any change is found, any crash is survived and told."""

from pathlib import Path
from typing import Any

import pytest
from deepseek_runtime.gateway.audit import segment
from deepseek_runtime.gateway.audit.verify import replica_directories, verify
from deepseek_runtime.gateway.audit.writer import SegmentWriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

RECORDS: list[dict[str, Any]] = [
    {"kind": "started", "torn": []},
    {"kind": "intent", "requestId": "a", "user": "系统"},
    {"kind": "completion", "intent": 2},
    {"kind": "intent", "requestId": "b"},
]
anywhere = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def write(directory: Path, records: list[dict[str, Any]], segment_bytes: int = 10**6) -> SegmentWriter:
    writer = SegmentWriter(directory, segment_bytes)
    for record in records:
        writer.write([record])
    writer.close()
    return writer


def reopen(directory: Path) -> SegmentWriter:
    writer = SegmentWriter(directory, 10**6)
    writer.write([{"kind": "started", "torn": [tail.to_record() for tail in writer.torn]}])
    writer.close()
    return writer


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A log of two segments."""
    directory = tmp_path_factory.mktemp("log")
    write(directory, RECORDS, segment_bytes=400)
    files = {file.name: file.read_bytes() for file in directory.glob("audit-*")}
    assert len(files) == 2
    return files


def restore(directory: Path, files: dict[str, bytes]) -> None:
    for old in directory.glob("audit-*"):
        old.unlink()
    for name, content in files.items():
        (directory / name).write_bytes(content)


def test_a_whole_log_verifies_and_names_what_is_open(tmp_path: Path, whole: dict[str, bytes]) -> None:
    restore(tmp_path, whole)
    report = verify(tmp_path)
    assert not report.problems
    assert report.records == 4
    assert len(report.notes) == 1
    assert "request b was let through and has no completion" in report.notes[0]


@given(st.data())
@anywhere
def test_any_changed_byte_is_found(tmp_path: Path, whole: dict[str, bytes], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(whole)))
    index = data.draw(st.integers(0, len(whole[name]) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[name][index]))
    changed = bytearray(whole[name])
    changed[index] = byte
    restore(tmp_path, {**whole, name: bytes(changed)})
    problems = verify(tmp_path).problems
    assert problems
    assert any(problem.startswith(name) for problem in problems)


@pytest.mark.parametrize("what", ["remove", "swap", "insert"])
def test_lines_that_are_moved_are_found(tmp_path: Path, what: str) -> None:
    write(tmp_path, RECORDS)
    file = segment.path(tmp_path, 1)
    lines = file.read_bytes().splitlines(keepends=True)
    changed = {
        "remove": [lines[0], *lines[2:]],
        "swap": [lines[0], lines[2], lines[1], lines[3]],
        "insert": [*lines[:2], lines[1], *lines[2:]],
    }
    file.write_bytes(b"".join(changed[what]))
    assert any(":2: record" in problem or ":3: record" in problem for problem in verify(tmp_path).problems)


def test_a_missing_segment_is_found(tmp_path: Path) -> None:
    write(tmp_path, RECORDS, segment_bytes=1)
    segment.path(tmp_path, 2).unlink()
    assert "segments 2 to 2 are missing" in verify(tmp_path).problems


@given(st.data())
@anywhere
def test_a_log_cut_anywhere_goes_on_and_its_torn_tail_is_told(
    tmp_path: Path, whole: dict[str, bytes], data: st.DataObject
) -> None:
    first, last = sorted(whole)
    cut = data.draw(st.integers(0, len(whole[last])))
    restore(tmp_path, {first: whole[first], last: whole[last][:cut]})
    for _ in range(data.draw(st.integers(1, 3))):
        reopen(tmp_path)
    report = verify(tmp_path)
    assert not report.problems
    torn = not whole[last][:cut].endswith(b"\n") and cut > 0
    assert any("torn line" in note for note in report.notes) is torn
    assert (tmp_path / last).read_bytes()[:cut] == whole[last][:cut]  # nothing is ever cut away


def test_a_crash_while_the_torn_tail_is_recorded(tmp_path: Path) -> None:
    write(tmp_path, RECORDS)
    with segment.path(tmp_path, 1).open("ab") as file:
        file.write(b'{"seq":5,"prev')
    segment.path(tmp_path, 2).write_bytes(b'{"seq":5')
    assert [tail.segment for tail in reopen(tmp_path).torn] == ["audit-00000001.jsonl", "audit-00000002.jsonl"]
    assert not verify(tmp_path).problems
    (tmp_path / "audit-00000002.jsonl").write_bytes(b'{"seq":6')
    assert len(verify(tmp_path).problems) == 1


def test_tampering_is_not_laundered_by_a_restart(tmp_path: Path) -> None:
    write(tmp_path, RECORDS)
    file = segment.path(tmp_path, 1)
    file.write_bytes(file.read_bytes().replace(b'"requestId":"a"', b'"requestId":"z"'))
    reopen(tmp_path)
    assert any("audit-00000001.jsonl:2: the line was changed" in problem for problem in verify(tmp_path).problems)


def test_a_completion_without_an_intent_is_found(tmp_path: Path) -> None:
    write(tmp_path, [{"kind": "completion", "intent": 1}])
    assert "never let through" in verify(tmp_path).problems[0]


def test_two_gateways_do_not_write_one_log(tmp_path: Path) -> None:
    first = SegmentWriter(tmp_path, 1000)
    with pytest.raises(OSError, match="Another gateway writes"):
        SegmentWriter(tmp_path, 1000)
    first.close()
    SegmentWriter(tmp_path, 1000).close()


def test_logs_of_all_replicas_are_found(tmp_path: Path) -> None:
    for replica in ("gateway-0", "gateway-1"):
        write(tmp_path / replica, RECORDS)
    assert [each.name for each in replica_directories(tmp_path)] == ["gateway-0", "gateway-1"]
    assert replica_directories(tmp_path / "gateway-0") == [tmp_path / "gateway-0"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no audit log"):
        replica_directories(tmp_path / "empty")
