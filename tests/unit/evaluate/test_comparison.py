"""KL divergence and agreement are what their definitions say, whatever is in memory at once."""

import weakref
from pathlib import Path

import pytest
import torch
from deepseek_runtime.evaluate import comparison, perplexity
from deepseek_runtime.evaluate.windows import windows
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.models import scratch
from deepseek_runtime.weights import manifest, seal
from deepseek_runtime.weights.load import load_model
from deepseek_runtime.wire.job import CompareJob
from deepseek_runtime.wire.result import Comparison
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import PreTrainedModel

from tests.unit.tiny import TEXT, Reports, build_job


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with the same tokenizer that predicts quite differently."""
    directory = tmp_path_factory.mktemp("other")
    scratch.run(build_job(directory).model_copy(update={"seed": 2}), Reports())
    return directory / "volume" / "artifact"


def _job(variant: Path, base: Path, output: Path, text: str, context: int = 32) -> CompareJob:
    output.mkdir(exist_ok=True)
    (output / "heldout.txt").write_text(text, "utf-8")
    return CompareJob(
        identity="5" * 64,
        owner="DeepSeekModel/test/tiny",
        output=str(output),
        input=str(variant),
        input_digest=manifest.read(variant).digest,
        base=str(base),
        base_digest=manifest.read(base).digest,
        text=(str(output / "heldout.txt"),),
        context_length=context,
    )


def _by_definition(variant: Path, base: Path, text: str, context: int) -> tuple[float, float, int]:
    """Mean KL, agreement and tokens from the models' own logits, window by window."""
    ids = perplexity.load_tokenizer(base).encode(text, add_special_tokens=False).ids
    first, second = load_model(base, torch.float32), load_model(variant, torch.float32)
    nats, agreed = 0.0, 0
    with torch.inference_mode():
        for window in windows(ids, first.config.bos_token_id, context):
            p, q = (
                each(torch.tensor([window.tokens])).logits[0, window.first :].double().softmax(-1)
                for each in (first, second)
            )
            nats += float((p * (p / q).log()).sum())
            agreed += int((p.argmax(-1) == q.argmax(-1)).sum())
    return nats / len(ids), agreed / len(ids), len(ids)


def test_figures_are_those_of_the_definition(
    model: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kl, agreement, tokens = _by_definition(other, model, TEXT, 32)
    job, reports = _job(other, model, tmp_path / "whole", TEXT), Reports()
    whole = comparison.run(job, reports).comparison
    assert whole is not None
    assert kl > 1e-4
    assert whole.kl_divergence == pytest.approx(kl, rel=1e-4)
    assert whole.top1_agreement == pytest.approx(agreement, abs=1 / tokens)
    assert whole.tokens == tokens
    assert [phase for phase, done, total in reports.seen if done == total] == ["reading the base", "comparing"]
    found = seal.sealed(tmp_path / "whole" / job.identity, job.identity)
    assert found is not None
    assert found.comparison == whole
    monkeypatch.setattr(perplexity, "BATCH_TOKENS", 32)
    monkeypatch.setattr(perplexity, "LOGITS", 4 * 320 * 3)
    parts = comparison.run(_job(other, model, tmp_path / "parts", TEXT), Reports()).comparison
    assert parts is not None
    assert parts.kl_divergence == pytest.approx(whole.kl_divergence, rel=1e-4)


def test_one_model_is_in_memory_at_a_time(
    model: Path, variant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, loaded = perplexity.load, list[weakref.ref[nn.Module]]()

    def watched(directory: Path) -> PreTrainedModel:
        assert [layer for layer in loaded if layer() is not None] == [], "the base is still there"
        network = load(directory)
        loaded.append(weakref.ref(network.model.layers[0]))
        return network

    monkeypatch.setattr(perplexity, "load", watched)
    comparison.run(_job(variant, model, tmp_path, TEXT), Reports())
    assert len(loaded) == 2


def test_int8_stays_close(model: Path, variant: Path, tmp_path: Path) -> None:
    found = comparison.run(_job(variant, model, tmp_path, TEXT), Reports()).comparison
    assert found is not None
    assert 0 < found.kl_divergence < 1e-5
    assert found.top1_agreement > 0.9


def test_a_model_is_no_way_from_itself(model: Path, tmp_path: Path) -> None:
    found = comparison.run(_job(model, model, tmp_path, TEXT), Reports()).comparison
    assert found is not None
    assert found.model_copy(update={"seconds": 0.0}) == Comparison(
        kl_divergence=0.0, top1_agreement=1.0, tokens=found.tokens, seconds=0.0
    )


@given(seed=st.integers(0, 2**31), scale=st.floats(0.01, 30), tokens=st.integers(1, 9))
def test_divergence_is_that_of_torch_and_never_negative(seed: int, scale: float, tokens: int) -> None:
    torch.manual_seed(seed)
    heads = [nn.Linear(4, 11, bias=False) for _ in range(2)]
    states = torch.randn(2, tokens, 4) * scale
    nats, agreed = comparison.divergence(heads[0], states[0], heads[1], states[1])
    with torch.no_grad():
        p, q = (head(state).double().log_softmax(-1) for head, state in zip(heads, states, strict=True))
    assert nats == pytest.approx(float(nn.functional.kl_div(q, p, reduction="sum", log_target=True)), abs=1e-9)
    assert nats > -1e-9
    assert 0 <= agreed <= tokens


def test_another_tokenizer_is_not_compared(model: Path, tmp_path: Path) -> None:
    job = build_job(tmp_path)
    text = tmp_path / "text.txt"
    text.write_text("völlig anderer Text, andere Paare\n" * 50, "utf-8")
    scratch.run(job, Reports())
    with pytest.raises(DataError, match="other tokens") as caught:
        comparison.run(_job(tmp_path / "volume" / "artifact", model, tmp_path / "out", TEXT), Reports())
    assert caught.value.reason == "NotComparable"
