"""Killed anywhere, a quantization goes on with the files that are left, and ends with the same bytes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from deepseek_runtime.models import scratch
from deepseek_runtime.quantize import model as quantize
from deepseek_runtime.quantize.ledger import PREFIX
from deepseek_runtime.quantize.shards import Conversion
from deepseek_runtime.weights import manifest, safety
from deepseek_runtime.weights.load import load_model
from deepseek_runtime.weights.safety import Shard
from deepseek_runtime.wire.result import JobResult

from tests.unit.tiny import Reports, build_job, quantize_job


class KilledError(BaseException):
    """The process is gone."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("base")
    scratch.run(build_job(directory), Reports())
    load_model(directory / "volume" / "artifact").save_pretrained(directory / "base", max_shard_size="20KB")
    manifest.write(directory / "base")
    assert len(safety.check(directory / "base")) > 4
    return directory / "base"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    write = Conversion.write

    def counted(self: Conversion, shard: Shard, path: Path, done: Callable[[int], None]) -> None:
        names.append(shard.path.name)
        write(self, shard, path, done)

    monkeypatch.setattr(Conversion, "write", counted)
    return names


def _run(base: Path, output: Path, reports: Reports | None = None) -> JobResult:
    return quantize.run(quantize_job(base, manifest.read(base).digest, output), reports or Reports())


class Kill(Reports):
    """Kills the process at the report after so many."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def update(self, phase: str, *, unit: str, done: int, total: int, **figures: float | None) -> None:
        super().update(phase, unit=unit, done=done, total=total)
        if len(self.seen) > self.after:
            raise KilledError


@pytest.mark.parametrize("after", [0, 12, 20, 30])
def test_only_what_is_left_is_written(base: Path, tmp_path: Path, written: list[str], after: int) -> None:
    whole = _run(base, tmp_path / "whole")
    every, names = len(written), written[:]
    written.clear()
    with pytest.raises(KilledError):
        _run(base, tmp_path / "killed", Kill(after))
    begun = written[:]
    written.clear()
    reports = Reports()
    again = _run(base, tmp_path / "killed", reports)
    assert begun[:-1] + written == names
    assert len(written) == every - len(begun) + 1
    assert again.artifact == whole.artifact
    assert again.quantization == whole.quantization
    manifest.verify(tmp_path / "killed" / "artifact", manifest.read(tmp_path / "whole" / "artifact").digest)
    done = [done for phase, done, _ in reports.seen if phase == "quantizing"]
    assert done == sorted(done)
    assert reports.seen[-1][1] == reports.seen[-1][2]
    assert not list((tmp_path / "killed").glob(f"{PREFIX}*"))


def test_a_finished_file_is_hashed_before_it_is_trusted(base: Path, tmp_path: Path, written: list[str]) -> None:
    digest = manifest.read(_whole(base, tmp_path / "whole")).digest
    written.clear()
    with pytest.raises(KilledError):
        _run(base, tmp_path / "out", Kill(30))
    first = written[0]
    path = next((tmp_path / "out").glob(f".partial-*/{first}"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    (path.parent / "stray.safetensors").write_bytes(b"of nobody")
    journal = next((tmp_path / "out").glob(f"{PREFIX}*"))
    journal.write_text(journal.read_text() + "0123 cut")
    written.clear()
    _run(base, tmp_path / "out")
    assert written[0] == first
    assert manifest.read(tmp_path / "out" / "artifact").digest == digest


def test_killed_between_the_renaming_and_the_result_nothing_is_computed(
    base: Path, tmp_path: Path, written: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(path: Path, target: Path) -> Path:
        if target.name == "result.json":
            raise KilledError
        return rename(path, target)

    rename = Path.rename
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", die)
        with pytest.raises(KilledError):
            _run(base, tmp_path)
    written.clear()
    _run(base, tmp_path)
    assert not written


def _whole(base: Path, output: Path) -> Path:
    _run(base, output)
    return output / "artifact"


def test_what_another_work_left_is_removed(base: Path, tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        _run(base, tmp_path, Kill(20))
    for path in tmp_path.glob(".*-2222*"):
        path.rename(tmp_path / path.name.replace("2222", "3333"))
    _run(base, tmp_path)
    assert not list(tmp_path.glob(f"{PREFIX}*")) + list(tmp_path.glob(".partial-*"))
