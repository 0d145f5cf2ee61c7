"""`audit verify`: is the log whole, and was every request that was let through also finished?"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from deepseek_runtime.gateway.audit import segment
from deepseek_runtime.gateway.audit.chain import BrokenLineError, Link, open_line


@dataclass(slots=True)
class Report:
    """`problems`: the log was changed or lost; `notes`: what a crash leaves. `head` is worth keeping elsewhere:
    who has it can also prove that no records were cut off at the end.
    """

    directory: Path
    records: int = 0
    head: Link = field(default_factory=Link)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """For people."""
        yield from (f"PROBLEM {problem}" for problem in self.problems)
        yield from (f"note    {note}" for note in self.notes)
        state = "BROKEN" if self.problems else "whole"
        yield f"{self.directory}: {state}, {self.records} records, head {self.head.seq} {self.head.hash}"


def replica_directories(directory: Path) -> list[Path]:
    """The logs at or directly below a directory; errors: FileNotFoundError where there is none."""
    found = [each for each in (directory, *sorted(directory.iterdir())) if each.is_dir() and segment.numbers(each)]
    if not found:
        raise FileNotFoundError(f"{directory} holds no audit log: no audit-*.jsonl in it or in a directory below.")
    return found


def verify(directory: Path) -> Report:
    """Follow the chain through all segments of one replica."""
    return _Verification(directory).run()


class _Verification:
    def __init__(self, directory: Path) -> None:
        self.report = Report(directory)
        self._open: dict[int, tuple[str, str, bool]] = {}  # intents by number: where, request id, of an ended process
        self._torn: dict[tuple[str, int], segment.Torn] = {}

    def run(self) -> Report:
        """Read every segment, then say what is left over."""
        existing = segment.numbers(self.report.directory)
        for before, number in pairwise([0, *existing]):
            if number != before + 1:
                self.report.problems.append(f"segments {before + 1} to {number - 1} are missing")
            self._segment(segment.path(self.report.directory, number))
        self._leftovers(segment.path(self.report.directory, existing[-1]).name)
        return self.report

    def _segment(self, file: Path) -> None:
        content = file.read_bytes()
        offset = 0
        for number, line in enumerate(content.split(b"\n"), start=1):
            where = f"{file.name}:{number}"
            if offset + len(line) == len(content):  # no line feed follows
                if line:
                    self._tail(file, offset, line)
                return
            self._line(line, where)
            offset += len(line) + 1

    def _line(self, line: bytes, where: str) -> None:
        report = self.report
        try:
            record, link = open_line(line)
        except BrokenLineError as error:
            report.problems.append(f"{where}: the line was changed: {error}")
            return
        report.records += 1
        if record.get("previous") != report.head.hash or link.seq != report.head.seq + 1:
            report.problems.append(
                f"{where}: record {link.seq} does not follow record {report.head.seq}: lines before it were changed, "
                "removed or put in"
            )
        report.head = link
        self._account(record, link, where)

    def _account(self, record: dict[str, Any], link: Link, where: str) -> None:
        match record.get("kind"):
            case "intent":
                self._open[link.seq] = (where, str(record.get("requestId")), False)
            case "completion":
                if self._open.pop(record.get("intent", -1), None) is None:
                    self.report.problems.append(f"{where}: completion of a request that was never let through")
            case "started":
                self._open = {seq: (place, request, True) for seq, (place, request, _) in self._open.items()}
                for tail in record.get("torn", []):
                    self._explain(segment.Torn(**tail), where)
                if refused := record.get("refused"):
                    self.report.notes.append(f"{where}: {refused} requests were refused while the log was not writable")

    def _tail(self, file: Path, offset: int, tail: bytes) -> None:
        with suppress(BrokenLineError):
            open_line(tail[:-1])
            self.report.problems.append(f"{file.name} byte {offset + len(tail) - 1}: the line feed was changed")
        self._torn[file.name, offset] = segment.Torn.of(file, offset, tail)

    def _explain(self, recorded: segment.Torn, where: str) -> None:
        found = self._torn.pop((recorded.segment, recorded.offset), None)
        place = f"{recorded.segment} from byte {recorded.offset}"
        if found == recorded:
            self.report.notes.append(f"{place}: a torn line of {recorded.length} bytes, as recorded at {where}")
        else:
            self.report.problems.append(f"{place}: {where} recorded a torn line there, and it is not what was recorded")

    def _leftovers(self, last: str) -> None:
        for torn in self._torn.values():
            text = f"{torn.segment} from byte {torn.offset}: a torn line of {torn.length} bytes"
            if torn.segment == last:
                self.report.notes.append(f"{text}, at the end of the log: being written, or cut off by a crash")
            else:
                self.report.problems.append(f"{text} that no later record speaks of")
        for where, request, ended in self._open.values():
            cause = (
                "the gateway ended, or the log failed, before it" if ended else "still running, or cut off by a crash"
            )
            self.report.notes.append(f"{where}: request {request} was let through and has no completion: {cause}")
