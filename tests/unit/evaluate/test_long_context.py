"""The same tokens are scored after much and after little, and the figures tell a model that looks back from others."""

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from deepseek_runtime.evaluate import long_context, perplexity
from deepseek_runtime.evaluate.windows import Window
from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.weights import manifest, seal
from deepseek_runtime.weights.load import load_model
from deepseek_runtime.wire.job import LongContextJob
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tiny import TEXT, Reports


@given(length=st.integers(4, 200), data=st.data())
def test_both_score_the_second_half_once(length: int, data: st.DataObject) -> None:
    context = data.draw(st.integers(2, length // 2))
    tokens = range(length)
    long = long_context.long_window(tokens, -1)
    assert [long.targets[p] for p in range(long.first, length)] == list(range(length // 2, length))
    assert list(long.tokens) == [-1, *range(length - 1)]
    scored: list[int] = []
    for window in long_context.short_windows(tokens, -1, context):
        assert len(window.tokens) <= context
        for position in range(window.first, len(window.targets)):
            target, seen = window.targets[position], list(window.tokens[: position + 1])
            assert seen == list(range(target - len(seen), target))
            assert len(seen) > context // 2 - 1
            scored.append(target)
    assert scored == list(range(length // 2, length))


def _job(model: Path, output: Path, text: str = TEXT, tokens: int = 64, context: int = 16) -> LongContextJob:
    (output / "heldout.txt").write_text(text, "utf-8")
    return LongContextJob(
        identity="7" * 64,
        owner="DeepSeekModel/test/tiny",
        output=str(output),
        input=str(model),
        input_digest=manifest.read(model).digest,
        text=(str(output / "heldout.txt"),),
        tokens=tokens,
        context_length=context,
        windows=3,
    )


def test_figures_are_those_of_the_definition_and_sealed(model: Path, tmp_path: Path) -> None:
    job, reports = _job(model, tmp_path), Reports()
    result = long_context.run(job, reports)
    found = result.long_context
    network = load_model(model, torch.float32)
    ids = perplexity.load_tokenizer(model).encode(TEXT, add_special_tokens=False).ids
    nats = 0.0
    with torch.inference_mode():
        for start in (0, 64, 128):
            sequence = [ids[start - 1] if start else network.config.bos_token_id, *ids[start : start + 64]]
            logits = network(torch.tensor([sequence[:-1]])).logits[0].double().log_softmax(-1)
            nats -= float(logits[range(32, 64), sequence[33:]].sum())
    assert found is not None
    assert found.scored == 96
    assert found.perplexity == pytest.approx(math.exp(nats / 96), rel=1e-4)
    assert found.ratio == pytest.approx(found.perplexity / found.short_perplexity)
    assert reports.seen[-1] == ("scoring", 192, 192)
    assert seal.sealed(tmp_path / job.identity, job.identity) == result.model_copy(update={"cached": True})


@pytest.mark.parametrize(
    ("knows", "ratio"),
    [
        (lambda seen: len(seen) > 20, (0.0, 0.2)),
        (lambda seen: len(seen) <= 20, (5.0, math.inf)),
        (lambda seen: True, (0.999, 1.001)),
    ],
)
def test_the_ratio_tells_who_uses_a_long_context(
    knows: Callable[[list[int]], bool], ratio: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss(model: object, batch: list[Window]) -> float:
        seen = (
            list(window.tokens[: position + 1])
            for window in batch
            for position in range(window.first, len(window.targets))
        )
        return sum(0.1 if knows(each) else 2.5 for each in seen)

    monkeypatch.setattr(perplexity, "loss", loss)
    model = SimpleNamespace(config=SimpleNamespace(bos_token_id=0))
    found = long_context.measure(model, range(500), 100, 16, 4, Reports())  # type: ignore[arg-type]
    assert ratio[0] <= found.ratio <= ratio[1]
    assert found.scored == 200


def test_what_cannot_be_measured_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"longContext.tokens is 65; the model has 64") as caught:
        long_context.run(_job(model, tmp_path, tokens=65), Reports())
    assert caught.value.reason == "ContextTooLong"
    with pytest.raises(ConfigurationError, match="at least twice"):
        long_context.run(_job(model, tmp_path, tokens=48, context=32), Reports())
    with pytest.raises(DataError, match="The text has 1 tokens") as short:
        long_context.run(_job(model, tmp_path, text="a"), Reports())
    assert short.value.reason == "TextTooShort"
