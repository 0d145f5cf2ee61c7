"""What fine-tuning teaches: the answers, all of them, the same whoever shares the work."""

from pathlib import Path

import pytest
import torch
from deepseek_runtime.models.tokenizer import EOS
from deepseek_runtime.serve.tokenizer import Tokenizer
from deepseek_runtime.train import loop, stage
from deepseek_runtime.train.balance import ExpertBalance
from deepseek_runtime.train.batch import loss
from deepseek_runtime.train.checkpoint import Checkpoints
from deepseek_runtime.train.data import prepare
from deepseek_runtime.train.exchange import Outcome
from deepseek_runtime.weights.load import load_model
from deepseek_runtime.wire.job import TrainJob
from deepseek_runtime.wire.progress import Examples
from transformers import PreTrainedModel

from ..conftest import Recorder
from ..test_loop import ALONE, losses_of
from .conftest import PAIRS, sft_job


def trained(job: TrainJob) -> tuple[PreTrainedModel, Outcome]:
    model = load_model(job.input, torch.float32)
    batches = prepare(job, model.config, Path(job.output), ALONE, lambda _: None)
    checkpoints = Checkpoints(Path(job.output), job.identity, job.keep_checkpoints)
    return model, loop.train(job, model, batches, ALONE, checkpoints, show=lambda _: None, stopping=lambda: False)


@torch.no_grad()
def answer(model: PreTrainedModel, tokenizer: Tokenizer, question: str) -> str:
    """Greedy, until the end of text."""
    tokens = tokenizer.encode(question)
    start = len(tokens)
    while tokens[-1] not in tokenizer.end and len(tokens) < 48:
        tokens.append(int(model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1].argmax()))
    assert tokens[-1] in tokenizer.end
    return tokenizer.decode(tokens[start:])


def test_it_learns_twenty_answers_by_heart(seed_model: Path, questions: Path, tmp_path: Path) -> None:
    settings = {"learning_rate": 6e-3, "weight_decay": 0.0, "batch_size": 2}
    job = sft_job(seed_model, questions, tmp_path / "output", settings, epochs=120)
    job = job.model_copy(update={"steps": None})
    model, outcome = trained(job)
    tokenizer = Tokenizer(seed_model, model.config)
    assert [answer(model.eval(), tokenizer, question) for question, _ in PAIRS] == [said for _, said in PAIRS]
    assert outcome.loss < 0.05
    assert outcome.finished
    assert outcome.examples == Examples(total=20)
    lengths = [len(tokenizer.encode(ask)) + len(tokenizer.continuation(say)) for ask, say in PAIRS]
    assert outcome.tokens == sum(lengths) * 120


def test_a_special_token_in_an_example_is_text(seed_model: Path, tmp_path: Path) -> None:
    data = tmp_path / "forged.jsonl"
    data.write_text('{"prompt": "a <|end|> b", "completion": "c <|end|> d"}\n')
    job = sft_job(seed_model, data, tmp_path / "output", {"batch_size": 1}, epochs=1).model_copy(update={"steps": None})
    model = load_model(job.input)
    batch = prepare(job, model.config, Path(job.output), ALONE, lambda _: None).batch(0)
    end = model.config.eos_token_id
    assert batch.filled is not None
    assert int((batch.inputs[batch.filled] == end).sum()) == 0
    assert int((batch.targets == end).sum()) == 1, f"only the {EOS} that the stage adds itself"


@pytest.mark.parametrize("shares", [1, 2, 4])
def test_loss_and_gradient_are_those_of_the_whole_batch_however_it_is_shared(
    shares: int, seed_model: Path, questions: Path, tmp_path: Path
) -> None:
    """Answers differ in length, so a mean of the shares' own means would be another number."""
    job = sft_job(seed_model, questions, tmp_path / "output", {})
    model = load_model(job.input, torch.float32)
    batches = prepare(job, model.config, Path(job.output), ALONE, lambda _: None)
    reference = torch.zeros(())
    whole = batches.batch(3)
    logits = model(input_ids=whole.inputs, position_ids=whole.positions).logits
    for row, targets in zip(logits.log_softmax(-1), whole.targets, strict=True):
        for place, target in zip(row, targets.tolist(), strict=True):
            reference = reference - (place[target] if target >= 0 else 0) / whole.learned
    expected = torch.autograd.grad(reference, list(model.parameters()))
    found = torch.zeros(())
    for share in range(shares):
        batch = batches.batch(3, share, shares)
        logits = model(input_ids=batch.inputs, position_ids=batch.positions).logits
        found = found + loss(logits, batch, shares) / shares
    torch.testing.assert_close(found, reference)
    gradients = torch.autograd.grad(found, list(model.parameters()))
    for gradient, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, atol=1e-6, rtol=1e-4)


def test_padding_makes_no_expert_busy(seed_model: Path, questions: Path, tmp_path: Path) -> None:
    job = sft_job(seed_model, questions, tmp_path / "output", {})
    model = load_model(job.input, torch.float32)
    batches = prepare(job, model.config, Path(job.output), ALONE, lambda _: None)
    batch = batches.batch(0)
    assert batch.filled is not None
    assert not bool(batch.filled.all())
    balance = ExpertBalance(model)
    balance.counted = batch.filled
    with torch.no_grad():
        model(input_ids=batch.inputs, position_ids=batch.positions)
    assert balance.loads[0].sum() == 2 * batch.filled.sum()  # two experts for each token


@pytest.mark.timeout(300)  # processes that import torch, on a machine with other work
def test_two_processes_learn_what_one_does(
    seed_model: Path, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(stage.__file__).parents[2]))
    job = sft_job(
        seed_model, questions, tmp_path / "output", {"learning_rate": 1e-3}, epochs=9, checkpoint_every_steps=4
    )
    alone = job.model_copy(update={"steps": None, "output": str(tmp_path / "alone")})
    _, whole = trained(alone)
    assert whole.steps > 6

    shared = alone.model_copy(update={"output": str(tmp_path / "shared"), "processes": 2})
    recorder = Recorder()
    result = stage.run(shared, recorder)
    assert result.training is not None
    assert result.training.steps == whole.steps
    assert result.training.examples == Examples(total=20)
    assert result.training.loss == pytest.approx(whole.loss, rel=1e-4)
    directory = Path(shared.output, "checkpoints", "sft")
    assert losses_of(shared.model_copy(update={"output": str(directory)})) == pytest.approx(losses_of(alone), rel=1e-4)
    artifact = Path(shared.output, "stages", "sft", "artifact")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (artifact / name).read_bytes() == (seed_model / name).read_bytes()
