"""Every end of a Job has its exit code, its reason and a sentence that says what to do."""

import errno
import json
import shutil
import types
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deepseek_runtime.job import place, run
from deepseek_runtime.job.errors import ConfigurationError, DataError, JobError
from deepseek_runtime.job.failures import Terminated
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.weights import manifest, seal
from deepseek_runtime.wire.exit_codes import ExitCode
from deepseek_runtime.wire.job import CompareJob, Job, PublishJob
from deepseek_runtime.wire.result import JobResult, decode

HYPERPARAMETERS = {
    **dict.fromkeys(("learningRate", "minLearningRateRatio", "weightDecay", "gradientClip", "beta1", "beta2"), 0.1),
    **dict.fromkeys(("warmupSteps", "batchSize", "sequenceLength", "seed"), 1),
    "precision": "float32",
}
_QUANTIZE = {"kind": "quantize", "identity": "x", "owner": "y", "inputDigest": "z", "scheme": "int8"}


class OutOfMemoryError(RuntimeError):
    """Named as torch's is."""


def _job(output: Path, identity: str = "a" * 64) -> PublishJob:
    return PublishJob(
        identity=identity, owner="DeepSeekModel/n/m", input="/nowhere", input_digest="0", output=str(output)
    )


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Puts a work in the place of the real one: it does what it is given, then seals."""

    def install(action: Callable[[], None]) -> None:
        def fake(job: Job, reporter: Reporter) -> JobResult:
            action()
            result = JobResult(kind=job.kind, identity=job.identity, outcome="succeeded")
            return seal.seal(place.place(job), job.identity, result)

        monkeypatch.setattr(run, "import_module", lambda name: types.SimpleNamespace(run=fake))

    return install


def _raiser(error: BaseException) -> Callable[[], None]:
    def action() -> None:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (ConfigurationError("InvalidConfig", "no"), 64, "InvalidConfig"),
        (DataError("DigestMismatch", "no"), 65, "DigestMismatch"),
        (JobError("Odd", "no"), 70, "Odd"),
        (ZeroDivisionError("by zero"), 70, "Internal"),
        (MemoryError(), 71, "OutOfMemory"),
        (OutOfMemoryError("CUDA out of memory"), 71, "OutOfMemory"),
        (RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried"), 71, "OutOfMemory"),
        (Terminated(), 75, "Interrupted"),
        (OSError(errno.ENOSPC, "No space left on device"), 65, "DiskFull"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), 65, "DiskFull"),
        (PermissionError(errno.EACCES, "Permission denied"), 70, "Internal"),
    ],
)
def test_every_error_has_its_code_and_reason(
    tmp_path: Path, work: Any, error: BaseException, code: int, reason: str
) -> None:
    work(_raiser(error))
    result, found = run.run(_job(tmp_path), port=0)
    assert (found, result.outcome, result.reason) == (code, "failed", reason)
    assert result.message
    assert not (tmp_path / "result.json").exists()


def test_a_full_disk_is_told_with_its_size(tmp_path: Path, work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2_000_000, 1_999_000, 1_000))
    work(_raiser(OSError(errno.ENOSPC, "No space left on device")))
    result, _ = run.run(_job(tmp_path), port=0)
    assert result.message is not None
    assert "2,000,000 bytes, 1,000 of them free" in result.message
    assert "storage.size" in result.message


def test_what_is_sealed_is_found_and_nothing_is_done_again(tmp_path: Path, work: Any) -> None:
    done: list[int] = []
    work(lambda: done.append(1))
    first, second = run.run(_job(tmp_path), port=0), run.run(_job(tmp_path), port=0)
    assert len(done) == 1
    assert second == (first[0].model_copy(update={"cached": True}), ExitCode.DONE)


def test_another_identity_at_the_same_place_is_refused(tmp_path: Path, work: Any) -> None:
    work(lambda: None)
    run.run(_job(tmp_path), port=0)
    result, code = run.run(_job(tmp_path, "b" * 64), port=0)
    assert (code, result.reason) == (ExitCode.DATA, "SealedByOther")


@pytest.mark.parametrize("kind", ["quantize", "evaluate", "compare", "longcontext", "task", "benchmark", "train"])
def test_a_tampered_model_is_refused_before_any_work_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    digest = manifest.write(model).digest
    (model / "config.json").write_text("[]")
    monkeypatch.setattr(run, "import_module", lambda name: pytest.fail(f"{name} imported"))
    common = {"identity": "a", "owner": "o", "input": model, "inputDigest": digest, "output": tmp_path / "volume"}
    special: dict[str, dict[str, object]] = {
        "quantize": {"scheme": "int8"},
        "evaluate": {"text": [], "contextLength": 8},
        "compare": {"text": [], "contextLength": 8, "baseDigest": digest},
        "longcontext": {"text": [], "contextLength": 8, "tokens": 64, "windows": 1},
        "task": {"folder": "tasks", "file": "task.yaml"},
        "benchmark": {"promptTokens": 8, "outputTokens": 8},
        "train": {"stage": "s", "data": [], "hyperparameters": HYPERPARAMETERS, "steps": 1, "checkpointEverySteps": 1},
    }
    document = {"kind": kind, **{name: str(value) for name, value in common.items()}, **special[kind]}
    result, code = run.run(run.parse(json.dumps(document)), port=0)
    assert (code, result.reason) == (ExitCode.DATA, "DigestMismatch")
    assert str(model / "config.json") in (result.message or "")


def test_a_tampered_base_is_not_compared_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = {}
    for name in ("variant", "base"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(f'{{"of": "{name}"}}')
        digests[name] = manifest.write(tmp_path / name).digest
    (tmp_path / "base" / "config.json").write_text("[]")
    monkeypatch.setattr(run, "import_module", lambda name: pytest.fail(f"{name} imported"))
    job = CompareJob(
        identity="a", owner="o", output=str(tmp_path / "volume"), text=(), context_length=8,
        input=str(tmp_path / "variant"), input_digest=digests["variant"],
        base=str(tmp_path / "base"), base_digest=digests["base"],
    )  # fmt: skip
    result, code = run.run(job, port=0)
    assert (code, result.reason) == (ExitCode.DATA, "DigestMismatch")
    assert str(tmp_path / "base" / "config.json") in (result.message or "")


def test_two_processes_never_write_in_one_place(tmp_path: Path) -> None:
    with (
        place.exclusive(tmp_path),
        pytest.raises(JobError, match="Another process") as caught,
        place.exclusive(tmp_path, patience=0.0),
    ):
        pass
    assert caught.value.reason == "VolumeBusy"
    with place.exclusive(tmp_path, patience=0.0):
        pass


@pytest.mark.parametrize(
    ("document", "reason", "says"),
    [
        ({"version": 3, "kind": "novel"}, "NewerVersion", "version 3, this runtime reads up to 2"),
        ({"kind": "novel"}, "InvalidConfig", "kind"),
        ({"kind": "build", "identity": "x", "owner": "y"}, "InvalidConfig", "architecture"),
        ([], "InvalidConfig", "not valid"),
        ({**_QUANTIZE, "smoothing": 0.5}, "InvalidConfig", "has smoothing, which this runtime does not know"),
        (
            {**_QUANTIZE, "calibration": {"text": ["t"], "shuffle": True}},
            "InvalidConfig",
            "has calibration.shuffle, which this runtime does not know and so cannot honour",
        ),
    ],
)
def test_a_document_that_cannot_be_run_is_64_and_says_why(
    tmp_path: Path, document: object, reason: str, says: str
) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    assert run.main(json.dumps(document), port=0, termination_log=log) == ExitCode.CONFIGURATION
    result = decode(log.read_text())
    assert result is not None
    assert (result.outcome, result.reason) == ("failed", reason)
    assert says in (result.message or "")


def test_the_result_is_the_termination_message(tmp_path: Path, work: Any) -> None:
    work(lambda: None)
    log = tmp_path / "termination-log"
    log.touch()
    assert run.main(_job(tmp_path / "volume").to_json(), port=0, termination_log=log) == 0
    result = decode(log.read_text())
    assert result is not None
    assert result == seal.sealed(tmp_path / "volume", result.identity).model_copy(update={"cached": False})  # type: ignore[union-attr]
