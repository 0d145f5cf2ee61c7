"""A whole stage with real processes under torchrun's agent."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from deepseek_runtime.job import errors
from deepseek_runtime.job.failures import OutOfMemoryError, explain
from deepseek_runtime.train import stage, supervisor
from deepseek_runtime.train.exchange import Death, Failure
from deepseek_runtime.weights import manifest, seal
from deepseek_runtime.weights.load import load_model
from deepseek_runtime.wire.exit_codes import ExitCode
from deepseek_runtime.wire.job import TrainJob

from tests.unit.memory import anonymous_megabytes

from .conftest import Recorder, hyperparameters, make_job
from .test_loop import losses_of, run

STEPS = 400  # seconds of work on an idle machine: enough to be seen and stopped in the middle


def workers(parent: int) -> list[int]:
    """Descendants of a process that run the worker module."""
    found = []
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        command = Path(f"/proc/{child}/cmdline").read_bytes()
        found += [int(child)] if b"train.worker" in command else workers(int(child))
    return found


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(stage.__file__).parents[2]))


@pytest.mark.timeout(300)  # processes that import torch, on a machine with other work
def test_interrupted_and_resumed_on_two_processes_it_learns_what_one_does(job: TrainJob, tmp_path: Path) -> None:
    """SIGTERM ends it with a checkpoint; the next pod finishes and seals, with the losses of a run in one go."""
    # a small rate keeps what rounding does to so many steps below the tolerance
    job = job.model_copy(update={"steps": STEPS, "hyperparameters": hyperparameters(learning_rate=1e-4)})
    recorder = Recorder("step", lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(errors.InterruptedError, match="checkpoint of step"):
        stage.run(job, recorder)
    checkpoints = Path(job.output, "checkpoints", "pretrain")
    assert list(checkpoints.glob("step-*"))
    assert seal.sealed(Path(job.output, "stages", "pretrain"), job.identity) is None

    recorder = Recorder()
    result = stage.run(job.model_copy(update={"processes": 2}), recorder)
    place = Path(job.output, "stages", "pretrain")
    sealed = seal.sealed(place, job.identity)
    assert sealed is not None
    assert sealed.training == result.training
    assert result.training is not None
    assert result.training.steps == STEPS
    assert 0 < result.training.resumed_from_step < STEPS
    assert result.artifact is not None
    manifest.verify(place / "artifact", result.artifact.digest)
    assert (place / "artifact" / "tokenizer.json").read_bytes() == Path(job.input, "tokenizer.json").read_bytes()
    exported = load_model(place / "artifact", torch.float32)
    assert result.artifact.architecture.parameters == exported.num_parameters()
    assert recorder.phases[:1] == ["hashing files"]
    assert "exporting" in recorder.phases or "step" in recorder.phases

    alone = job.model_copy(update={"output": str(tmp_path / "alone")})
    run(alone)
    newest = max(checkpoints.glob("step-*"))
    assert json.loads((newest / "state.json").read_text())["losses"] == pytest.approx(losses_of(alone), rel=2e-4)


@pytest.mark.timeout(300)  # processes that import torch, on a machine with other work
def test_memory_does_not_grow_with_steps(job: TrainJob) -> None:
    """Though each step has other counts of tokens for its experts, and 16-bit kernels are compiled for their shapes."""
    sizes: dict[int, int] = {}  # after each step that was told

    class Sampler(Recorder):
        def update(self, phase: str, **figures: Any) -> None:
            super().update(phase, **figures)
            if phase == "step":
                (worker,) = workers(os.getpid())
                sizes[figures["done"]] = anonymous_megabytes(worker)

    settings = hyperparameters(precision="bfloat16", batch_size=32)
    changes = {"steps": 120, "checkpoint_every_steps": 120, "hyperparameters": settings}
    stage.run(job.model_copy(update=changes), Sampler())
    early = max(size for step, size in sizes.items() if step <= 60)
    late = max(size for step, size in sizes.items() if step > 60)
    assert late - early < 50, sizes


@pytest.mark.timeout(300)  # processes that import torch, on a machine with other work
def test_a_killed_process_ends_the_group_with_its_signal(seed_model: Path, text: Path, tmp_path: Path) -> None:
    job = make_job(seed_model, text, tmp_path / "output", steps=100_000)
    victims: list[int] = []

    def kill() -> None:
        victims.extend(workers(os.getpid()))
        os.kill(victims[0], signal.SIGKILL)

    with pytest.raises(errors.JobError, match=r"process \d ended with SIGKILL") as failed:
        stage.run(job, Recorder("step", kill))
    assert failed.value.code == ExitCode.INTERNAL
    assert len(victims) == 1


def test_impossible_requests_start_no_process(job: TrainJob) -> None:
    def refused(**changes: object) -> str:
        with pytest.raises(errors.ConfigurationError) as error:
            stage.run(job.model_copy(update=changes), Recorder())
        return error.value.message

    assert "Make it a multiple" in refused(processes=3)
    assert "max_position_embeddings 64" in refused(hyperparameters=hyperparameters(sequence_length=128))
    with pytest.raises(errors.DataError) as mismatch:
        stage.run(job.model_copy(update={"input_digest": "0" * 64}), Recorder())
    assert mismatch.value.reason == "DigestMismatch"


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (errors.DataError("Diverged", "At step 3."), errors.DataError, "At step 3."),
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemoryError, "limits.memory"),
        (ValueError("odd\nmore"), errors.JobError, "In training process 1: ValueError: odd more"),
    ],
)
def test_a_processs_error_is_raised_by_the_supervisor(
    error: Exception, kind: type[errors.JobError], message: str, tmp_path: Path
) -> None:
    seen = explain(error, tmp_path)
    raised = supervisor._error(Failure(0.0, 1, seen.code, seen.reason, seen.message))
    assert type(raised) is kind
    assert raised.reason == seen.reason
    assert message in raised.message


def test_the_first_foreseen_failure_is_the_one_that_counts(tmp_path: Path) -> None:
    exchange = supervisor.Exchange(tmp_path)
    exchange.fail(Failure(1.0, 1, ExitCode.INTERNAL, "TrainingFailed", "Connection closed by peer"))
    exchange.fail(Failure(2.0, 0, ExitCode.DATA, "Diverged", "at step 3"))
    failure = exchange.failure()
    assert failure is not None
    assert failure.reason == "Diverged"


def test_a_kill_for_memory_is_told_from_others() -> None:
    assert isinstance(supervisor._death(Death(0, -9), 1, out_of_memory=True), OutOfMemoryError)
    assert "SIGSEGV" in str(supervisor._death(Death(1, -11), 1, out_of_memory=False))
    assert "code -9" in str(supervisor._death(None, -9, out_of_memory=False))
