"""Scores are what the definition says, over exactly the bytes that were scored."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from deepseek_runtime.evaluate import perplexity
from deepseek_runtime.evaluate.windows import windows
from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.weights import manifest, seal
from deepseek_runtime.weights.load import load_model
from deepseek_runtime.wire.job import EvaluateJob
from tokenizers import AddedToken, normalizers

from tests.unit.tiny import TEXT, Reports


def _job(model: Path, output: Path, text: str, *, context: int = 32, max_tokens: int | None = None) -> EvaluateJob:
    output.mkdir(exist_ok=True)
    (output / "heldout.txt").write_text(text, "utf-8")
    return EvaluateJob(
        identity="4" * 64,
        owner="DeepSeekModel/test/tiny",
        output=str(output),
        input=str(model),
        input_digest=manifest.read(model).digest,
        text=(str(output / "heldout.txt"),),
        context_length=context,
        max_tokens=max_tokens,
    )


def _by_definition(directory: Path, text: str, context: int) -> float:
    """Nats of a text, one prediction at a time."""
    network = load_model(directory, torch.float32)
    ids = perplexity.load_tokenizer(directory).encode(text, add_special_tokens=False).ids
    nats = 0.0
    with torch.inference_mode():
        for window in windows(ids, network.config.bos_token_id, context):
            for position in range(window.first, len(window.targets)):
                logits = network(torch.tensor([window.tokens[: position + 1]])).logits[0, -1]
                nats -= float(logits.double().log_softmax(0)[window.targets[position]])
    return nats


@pytest.mark.parametrize("context", [16, 64])
def test_scores_are_those_of_the_definition(model: Path, tmp_path: Path, context: int) -> None:
    text = TEXT[:220]
    result = perplexity.run(_job(model, tmp_path, text, context=context), Reports())
    nats = _by_definition(model, text, context)
    assert result.scores is not None
    assert result.scores.bytes == len(text.encode())
    assert result.scores.perplexity == pytest.approx(math.exp(nats / result.scores.tokens), rel=1e-4)
    assert result.scores.bits_per_byte == pytest.approx(nats / math.log(2) / result.scores.bytes, rel=1e-5)


def test_batches_and_slices_of_the_vocabulary_change_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = Reports()
    whole = perplexity.run(_job(model, tmp_path / "a", TEXT), reports).scores
    monkeypatch.setattr(perplexity, "BATCH_TOKENS", 32)
    monkeypatch.setattr(perplexity, "LOGITS", 5 * 320)
    parts = perplexity.run(_job(model, tmp_path / "b", TEXT), Reports()).scores
    assert whole is not None
    assert parts is not None
    assert parts.perplexity == pytest.approx(whole.perplexity, rel=1e-5)
    scored = [(done, total) for phase, done, total in reports.seen if phase == "scoring"]
    assert scored[-1] == (whole.tokens, whole.tokens)


def test_the_same_job_gives_the_same_numbers_and_its_result_is_found(model: Path, tmp_path: Path) -> None:
    first = perplexity.run(_job(model, tmp_path / "a", TEXT), Reports())
    second = perplexity.run(_job(model, tmp_path / "b", TEXT), Reports())
    assert first.scores is not None
    assert second.scores is not None
    assert first.scores.model_copy(update={"seconds": 0.0}) == second.scores.model_copy(update={"seconds": 0.0})
    place = tmp_path / "a" / first.identity
    assert seal.sealed(place, first.identity) == first.model_copy(update={"cached": True})
    assert sorted(path.name for path in place.iterdir()) == ["result.json", "routing.json"]


def test_max_tokens_cuts_and_counts_the_bytes_of_those_tokens_alone(model: Path, tmp_path: Path) -> None:
    scores = perplexity.run(_job(model, tmp_path, TEXT, max_tokens=77), Reports()).scores
    tokenizer = perplexity.load_tokenizer(model)
    ids = tokenizer.encode(TEXT, add_special_tokens=False).ids[:77]
    assert scores is not None
    assert scores.tokens == 77
    covered = tokenizer.decode(ids, skip_special_tokens=False).rstrip("\ufffd")
    assert 0 <= scores.bytes - len(covered.encode()) < 4
    assert TEXT.startswith(covered)


def test_what_looks_like_a_special_token_is_text(model: Path, tmp_path: Path) -> None:
    scores = perplexity.run(_job(model, tmp_path, "a<|eos|>b<|bos|>"), Reports()).scores
    assert scores is not None
    assert scores.bytes == len("a<|eos|>b<|bos|>")
    assert scores.tokens > 4


def test_a_model_that_names_no_beginning_is_measured_with_its_tokenizers(model: Path, tmp_path: Path) -> None:
    silent = tmp_path / "model"
    shutil.copytree(model, silent)
    config = json.loads((silent / "config.json").read_text())
    (silent / "config.json").write_text(json.dumps({**config, "bos_token_id": None}))
    assert perplexity.load(silent).config.bos_token_id == config["bos_token_id"]
    manifest.write(silent)
    expected, found = (
        perplexity.run(_job(each, tmp_path / each.name / "scores", TEXT[:500]), Reports()).scores
        for each in (shutil.copytree(model, tmp_path / "base"), silent)
    )
    assert expected is not None
    assert found is not None
    assert found.perplexity == expected.perplexity
    settings = json.loads((silent / "tokenizer_config.json").read_text())
    del settings["bos_token"]
    (silent / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(
        ConfigurationError, match=r"Neither tokenizer_config\.json nor config\.json .* names a bos token"
    ):
        perplexity.load(silent)


def test_what_config_says_goes_before_the_tokenizer(model: Path, tmp_path: Path) -> None:
    other = shutil.copytree(model, tmp_path / "model")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "bos_token_id": 7}))
    assert perplexity.load(other).config.bos_token_id == 7


def test_an_added_word_has_the_bytes_of_its_letters(model: Path, tmp_path: Path) -> None:
    """Also where it is spelled as the vocabulary spells one byte: `ü` is byte FC there, `Ã` the first byte of `ü`."""
    tokenizer = perplexity.load_tokenizer(model)
    plain = len(tokenizer.get_vocab())
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in ("ü", "Ã", "漢字")])
    text = "Der Hund für dich. Ärger: Ã\u00e9, 漢字漢"
    (tmp_path / "text.txt").write_text(text, "utf-8")
    (document,) = perplexity.read_documents(tokenizer, [tmp_path / "text.txt"], None)
    assert document.bytes == len(text.encode())
    assert max(document.tokens) == plain
    count = tokenizer.encode(text, add_special_tokens=False).tokens.index("ü") + 1
    (cut,) = perplexity.read_documents(tokenizer, [tmp_path / "text.txt"], count)
    assert cut.bytes == len("Der Hund fü".encode())


def test_a_tokenizer_that_drops_letters_is_refused(model: Path, tmp_path: Path) -> None:
    tokenizer = perplexity.load_tokenizer(model)
    tokenizer.normalizer = normalizers.NFKC()
    (tmp_path / "text.txt").write_text("Der \ufb01nstere Fuchs", "utf-8")
    with pytest.raises(DataError, match=r"text\.txt are not its bytes") as caught:
        perplexity.read_documents(tokenizer, [tmp_path / "text.txt"], None)
    assert caught.value.reason == "LossyTokenizer"


def test_a_longer_context_than_the_models_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="65; the model has 64") as caught:
        perplexity.run(_job(model, tmp_path, TEXT, context=65), Reports())
    assert caught.value.reason == "ContextTooLong"
