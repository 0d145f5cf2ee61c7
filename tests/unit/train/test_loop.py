"""The loop on one process: it learns, and goes on after a crash as if there had been none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.train import loop
from deepseek_runtime.train.balance import ExpertBalance
from deepseek_runtime.train.batch import Batch
from deepseek_runtime.train.checkpoint import Checkpoints
from deepseek_runtime.train.data import prepare
from deepseek_runtime.train.exchange import Outcome, Status
from deepseek_runtime.train.team import Team
from deepseek_runtime.weights.load import load_model
from deepseek_runtime.wire.job import TrainJob

from .conftest import hyperparameters

ALONE = Team(0, 1, torch.device("cpu"))


class Killed(BaseException):
    """Stands for a kill -9: nothing gets a chance to save anything."""


def losses_of(job: TrainJob, keep: int = 2) -> list[float]:
    checkpoints = Checkpoints(Path(job.output), job.identity, keep)
    model = load_model(job.input, torch.float32)
    return checkpoints.resume(model, loop.adamw(model, job.hyperparameters), ALONE).losses


def run(
    job: TrainJob, show: Callable[[Status], None] = lambda _: None, stopping: Callable[[], bool] = lambda: False
) -> Outcome:
    model = load_model(job.input, torch.float32)
    batches = prepare(job, model.config, Path(job.output), ALONE, lambda _: None)
    checkpoints = Checkpoints(Path(job.output), job.identity, job.keep_checkpoints)
    return loop.train(job, model, batches, ALONE, checkpoints, show=show, stopping=stopping)


def test_killed_at_step_7_and_resumed_is_the_same_as_in_one_go(job: TrainJob, tmp_path: Path) -> None:
    whole = run(job)
    interrupted = job.model_copy(update={"output": str(tmp_path / "interrupted")})

    def kill(status: Status) -> None:
        if status.done == 7:
            raise Killed

    with pytest.raises(Killed):
        run(interrupted, show=kill)
    resumed = run(interrupted)
    assert (whole.resumed_from_step, resumed.resumed_from_step) == (0, 6)
    assert losses_of(interrupted) == losses_of(job)
    assert len(losses_of(job)) == 12
    assert (resumed.steps, resumed.tokens, resumed.finished) == (12, 12 * 4 * 16, True)
    assert resumed.loss == whole.loss


def test_told_to_stop_it_writes_a_checkpoint_after_the_step_at_hand(job: TrainJob) -> None:
    shown: list[Status] = []
    outcome = run(job, show=shown.append, stopping=lambda: len(shown) == 4)
    assert (outcome.finished, outcome.steps) == (False, 5)
    assert shown[-1].checkpoint_step == 5
    assert run(job).resumed_from_step == 5


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_learns(job: TrainJob, precision: str) -> None:
    settings = hyperparameters(precision=precision, learning_rate=1e-2)
    shown: list[Status] = []
    outcome = run(job.model_copy(update={"steps": 60, "hyperparameters": settings}), show=shown.append)
    assert shown[0].loss is not None
    assert shown[0].loss == pytest.approx(np.log(320), abs=0.3)
    assert outcome.loss < 3.0
    assert shown[-1].done == shown[-1].total == shown[-1].checkpoint_step == 60
    assert shown[-1].tokens_per_second
    assert shown[-1].learning_rate == pytest.approx(1e-3)


def test_a_diverged_run_ends_with_the_step_and_keeps_its_last_good_checkpoint(job: TrainJob) -> None:
    def poison(status: Status) -> None:
        if status.done == 8:
            poisoned.append(8)

    poisoned: list[int] = []
    original = loop.loss

    def loss(logits: torch.Tensor, batch: Batch, shares: int) -> torch.Tensor:
        return original(logits, batch, shares) * (float("nan") if poisoned else 1.0)

    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(DataError, match=r"At step 9 .* lower learningRate") as bad,
    ):
        patch.setattr(loop, "loss", loss)
        run(job, show=poison)
    assert bad.value.reason == "Diverged"
    assert Checkpoints(Path(job.output), job.identity, 2).steps() == [6]


def test_a_busy_expert_loses_its_lead(job: TrainJob) -> None:
    model = load_model(job.input, torch.float32)
    balance = ExpertBalance(model)
    router = next(module for name, module in model.named_modules() if name.endswith("mlp.gate"))
    router.e_score_correction_bias += torch.tensor([0.05, 0.0, 0.0, -0.05])
    tokens = torch.randint(0, 320, (8, 32), generator=torch.Generator().manual_seed(0))
    spread = []
    for _ in range(120):
        with torch.no_grad():
            model(input_ids=tokens)
        spread.append((balance.loads[0].max() - balance.loads[0].min()).item())
        balance.step(ALONE)
    assert spread[0] > 200  # of 512 places for 256 tokens
    assert max(spread[-10:]) < spread[0] / 4
