"""Several pods share the files of a copy on one volume: the same bytes as by one pod, whoever is killed."""

import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
from deepseek_runtime.job.errors import ConfigurationError, DataError, InterruptedError, JobError  # noqa: A004
from deepseek_runtime.job.run import parse
from deepseek_runtime.job.run import run as run_job
from deepseek_runtime.models import scratch
from deepseek_runtime.quantize import model as quantize
from deepseek_runtime.quantize import shards, spread
from deepseek_runtime.quantize.ledger import PREFIX
from deepseek_runtime.weights import manifest, safety
from deepseek_runtime.weights.load import load_model
from deepseek_runtime.wire.job import Calibration, QuantizeJob
from deepseek_runtime.wire.paths import INDEX_ENVIRONMENT
from deepseek_runtime.wire.result import JobResult
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tiny import Reports, build_job, quantize_job

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])  # torch is imported once, not by each pod


def _live(job: str, index: int, stop: int, said: Connection) -> None:
    """A pod's process, which tells what it has written at its end."""
    write, written = shards.Conversion.write, []

    def counted(self: shards.Conversion, shard: Any, path: Path, done: Callable[[int], None]) -> None:
        def report(count: int) -> None:
            if len(written) == stop:
                said.send(None)
                time.sleep(600)
            done(count)

        write(self, shard, path, report)
        written.append(shard.path.name)

    shards.Conversion.write = counted  # type: ignore[method-assign]
    os.environ[INDEX_ENVIRONMENT] = str(index)
    _, code = run_job(parse(job), port=0)
    said.send(written)
    sys.exit(int(code))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("base")
    scratch.run(build_job(directory), Reports())
    load_model(directory / "volume" / "artifact").save_pretrained(directory / "base", max_shard_size="10KB")
    manifest.write(directory / "base")
    assert len(safety.check(directory / "base")) > 6
    return directory / "base"


@pytest.fixture(scope="module")
def alone(base: Path, tmp_path_factory: pytest.TempPathFactory) -> JobResult:
    """By one pod."""
    return quantize.run(_job(base, tmp_path_factory.mktemp("alone"), 1), Reports())


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "INTERVAL", 0.01)
    monkeypatch.setattr(spread, "PATIENCE", 0.2)


def _job(base: Path, output: Path, pods: int) -> QuantizeJob:
    return quantize_job(base, manifest.read(base).digest, output, pods=pods)


def _pod(job: QuantizeJob, index: int, monkeypatch: pytest.MonkeyPatch, reports: Reports | None = None) -> JobResult:
    """One of the pods, from its beginning to its end."""
    monkeypatch.setenv(INDEX_ENVIRONMENT, str(index))
    return quantize.run(job, reports or Reports())


class Pods:
    """The pods of a Job as processes."""

    def __init__(self, job: QuantizeJob) -> None:
        self.job = job
        self._processes: dict[int, ForkServerProcess] = {}
        self._said: dict[int, Connection] = {}

    def start(self, index: int, stop: int = -1) -> None:
        """`stop`: after so many files it hangs in the middle of the next one."""
        self._said[index], theirs = _CONTEXT.Pipe(duplex=False)
        with theirs:
            self._processes[index] = _CONTEXT.Process(target=_live, args=(self.job.to_json(), index, stop, theirs))
            self._processes[index].start()

    def kill(self, index: int) -> None:
        """kill -9, in the middle of the file at which it hangs."""
        assert self._said[index].recv() is None
        self._end(index)

    def written(self, index: int) -> list[str]:
        """The files that one has written, once it has succeeded."""
        written: list[str] = self._said[index].recv()
        self._processes[index].join()
        assert self._processes[index].exitcode == 0
        return written

    def end(self) -> None:
        """Leave nothing running."""
        for index in self._processes:
            self._end(index)

    def _end(self, index: int) -> None:
        self._processes[index].kill()
        self._processes[index].join()
        self._said[index].close()


@pytest.fixture
def pods(request: pytest.FixtureRequest, base: Path, tmp_path: Path) -> Iterator[Pods]:
    running = Pods(_job(base, tmp_path, request.param))
    yield running
    running.end()


@pytest.mark.parametrize(("pods", "killed"), [(2, 1), (3, 0)], indirect=["pods"])
def test_a_killed_pod_costs_its_own_part_alone_and_the_bytes_are_the_same(
    pods: Pods, killed: int, alone: JobResult, base: Path
) -> None:
    shares = spread.spread(pods.job)
    assert all(len(share) > 1 for share in shares)
    for index in range(len(shares)):
        pods.start(index, stop=1 if index == killed else -1)
    pods.kill(killed)
    others = set(range(len(shares))) - {0, killed}  # the first waits for all
    written = {index: pods.written(index) for index in others}
    pods.start(killed)
    written |= {index: pods.written(index) for index in {0, killed}}
    assert len(written.pop(killed)) == len(shares[killed]) - 1
    assert {index: set(names) for index, names in written.items()} == {i: set(shares[i]) for i in written}
    output = Path(pods.job.output)
    assert alone.artifact is not None
    manifest.verify(output / "artifact", alone.artifact.digest)
    assert len(safety.check(output / "artifact")) == len(safety.check(base))
    assert not list(output.glob(f"{PREFIX}*")) + list(output.glob(".partial-*"))


def test_more_pods_than_files_end_at_once_and_the_first_waits_for_the_others(
    base: Path, tmp_path: Path, alone: JobResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _job(base, tmp_path, 64)
    shares, reports = spread.spread(job), Reports()
    with pytest.raises(InterruptedError, match="make room"):
        _pod(job, 0, monkeypatch)
    for index, share in reversed(list(enumerate(shares))[1:]):
        ended = _pod(job, index, monkeypatch, reports)
        assert (ended.outcome, ended.artifact) == ("succeeded", None)
        assert bool(reports.seen) == bool(share)
        reports.seen.clear()
    sealed = _pod(job, 0, monkeypatch, reports)
    assert (sealed.artifact, sealed.quantization) == (alone.artifact, alone.quantization)
    assert reports.seen[-1][0] == "waiting for the other pods"
    assert reports.seen[-1][1] == reports.seen[-1][2]
    for index in (1, 63):
        monkeypatch.setenv(INDEX_ENVIRONMENT, str(index))
        late, code = run_job(job, port=0)
        assert (late.cached, late.artifact, code) == (True, alone.artifact, 0)


def test_another_number_of_pods_goes_on_with_what_is_finished(
    base: Path, tmp_path: Path, alone: JobResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = _job(base, tmp_path, 3)
    for index in (1, 2):
        _pod(three, index, monkeypatch)
    (files,) = tmp_path.glob(".partial-*")
    before = {path.name: path.stat().st_ino for path in files.glob("*.safetensors")}
    assert len(before) > 2
    two = _job(base, tmp_path, 2)
    _pod(two, 1, monkeypatch)
    assert _pod(two, 0, monkeypatch).artifact == alone.artifact
    after = {path.name: path.stat().st_ino for path in (tmp_path / "artifact").glob("*.safetensors")}
    assert before.items() <= after.items()


def test_a_recorded_file_that_is_spoilt_is_not_sealed_and_another_job_makes_it_again(
    base: Path, tmp_path: Path, alone: JobResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _job(base, tmp_path, 2)
    _pod(job, 1, monkeypatch)
    (files,) = tmp_path.glob(".partial-*")
    spoilt = files / min(spread.spread(job)[1])
    content = bytearray(spoilt.read_bytes())
    content[-1] ^= 1
    spoilt.write_bytes(content)
    with pytest.raises(JobError, match=spoilt.name) as caught:
        _pod(job, 0, monkeypatch)
    assert caught.value.reason == "DigestMismatch"
    _pod(job, 1, monkeypatch)
    assert _pod(job, 0, monkeypatch).artifact == alone.artifact


def test_each_pod_verifies_what_it_reads(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(base, copy)
    job = _job(copy, tmp_path / "out", 2)
    spoilt = copy / min(spread.spread(job)[1])
    content = bytearray(spoilt.read_bytes())
    content[-1] ^= 1
    spoilt.write_bytes(content)
    with pytest.raises(DataError, match=spoilt.name) as caught:
        _pod(job, 1, monkeypatch)
    assert caught.value.reason == "DigestMismatch"
    with pytest.raises(InterruptedError):
        _pod(job, 0, monkeypatch)


def test_a_calibrated_method_is_of_one_pod(base: Path, tmp_path: Path) -> None:
    job = _job(base, tmp_path, 2).model_copy(update={"method": "static", "calibration": Calibration(text=())})
    with pytest.raises(ConfigurationError, match="parallelism must be 1"):
        quantize.run(job, Reports())


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 1000), max_size=40), st.integers(1, 64))
def test_parts_are_of_equal_bytes_as_far_as_whole_files_allow(sizes: dict[str, int], pods: int) -> None:
    shares = spread.parts(sizes, pods)
    assert sorted(name for share in shares for name in share) == sorted(sizes)
    assert shares == spread.parts(dict(reversed(sizes.items())), pods)
    loads = [sum(map(sizes.__getitem__, share)) for share in shares]
    assert max(loads) <= sum(loads) / pods + max(sizes.values(), default=0)
    assert not (sizes and all(sizes.values())) or sum(map(bool, shares)) == min(pods, len(sizes))
