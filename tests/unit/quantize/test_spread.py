"""Several pods share the files of a copy on one volume: the same bytes as by one pod, whoever is killed."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from deepseek_runtime.job.errors import ConfigurationError, DataError, InterruptedError, JobError  # noqa: A004
from deepseek_runtime.job.run import run as run_job
from deepseek_runtime.models import scratch
from deepseek_runtime.quantize import model as quantize
from deepseek_runtime.quantize import spread
from deepseek_runtime.quantize.ledger import PREFIX
from deepseek_runtime.weights import manifest, safety
from deepseek_runtime.weights.load import load_model
from deepseek_runtime.wire.job import Calibration, QuantizeJob
from deepseek_runtime.wire.paths import INDEX_ENVIRONMENT
from deepseek_runtime.wire.result import JobResult
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tiny import Reports, build_job, quantize_job

_POD = """
import sys, time
import deepseek_runtime.quantize.shards as shards
from deepseek_runtime.job.run import parse, run

stop = int(sys.argv[2])
write, written = shards.Conversion.write, []

def counted(self, shard, path, done):
    def report(count):
        if len(written) == stop:
            print("in the middle", flush=True)
            time.sleep(600)
        done(count)
    write(self, shard, path, report)
    written.append(shard.path.name)

shards.Conversion.write = counted
result, code = run(parse(sys.argv[1]), port=0)
print(" ".join(written), flush=True)
sys.exit(int(code))
"""


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
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, index: int, stop: int = -1) -> subprocess.Popen[str]:
        """`stop`: after so many files it hangs in the middle of the next one."""
        process = subprocess.Popen(
            [sys.executable, "-c", _POD, self.job.to_json(), str(stop)],
            env={**os.environ, INDEX_ENVIRONMENT: str(index), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process


@pytest.fixture
def pods(request: pytest.FixtureRequest, base: Path, tmp_path: Path) -> Iterator[Pods]:
    running = Pods(_job(base, tmp_path, request.param))
    yield running
    for process in running.processes:
        with process:
            process.kill()


@pytest.mark.parametrize(("pods", "killed"), [(2, 1), (3, 0)], indirect=["pods"])
def test_a_killed_pod_costs_its_own_part_alone_and_the_bytes_are_the_same(
    pods: Pods, killed: int, alone: JobResult, base: Path
) -> None:
    shares = spread.spread(pods.job)
    assert all(len(share) > 1 for share in shares)
    running = {index: pods.start(index, stop=1 if index == killed else -1) for index in range(len(shares))}
    assert running[killed].stdout is not None
    while "in the middle" not in (line := running[killed].stdout.readline()):
        assert line, "it ended before it was killed"
    running[killed].send_signal(signal.SIGKILL)
    running[killed].communicate()
    others = {index: process for index, process in running.items() if index not in (0, killed)}
    written = {index: process.communicate()[0].splitlines()[-1].split() for index, process in others.items()}
    assert {index: process.returncode for index, process in others.items()} == dict.fromkeys(others, 0)
    running[killed] = pods.start(killed)
    for index in {0, killed}:
        written[index] = running[index].communicate()[0].splitlines()[-1].split()
        assert running[index].returncode == 0
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
