"""Text files to tokens."""

from pathlib import Path

import pytest
from deepseek_runtime.job.errors import ConfigurationError, DataError, JobError
from deepseek_runtime.models import text as module
from deepseek_runtime.train.tokens import open_tokens, tokenize
from tokenizers import Tokenizer

VOCABULARY = 320
LENGTH = 4


def written(sources: tuple[str, ...], model: Path, target: Path) -> str:
    tokenize(sources, model, VOCABULARY, LENGTH, target)
    tokens = open_tokens(target, VOCABULARY)
    return str(Tokenizer.from_file(str(model / "tokenizer.json")).decode(tokens.tolist(), skip_special_tokens=False))


def test_files_follow_each_other_with_an_end_of_text_between(
    seed_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 8)  # several chunks for each file
    book = tmp_path / "book"
    book.mkdir()
    (book / "b.txt").write_text("second\nwith lines\n\nand a gap")
    (book / "a.txt").write_text("first: δοκιμή 深度\n")
    (book / "notes.md").write_text("not text for training")
    (tmp_path / "single").write_text("alone, <|end|> said")
    found = written((str(tmp_path / "single"), str(book)), seed_model, tmp_path / "tokens")
    assert found == "alone, <|end|> said<|end|>first: δοκιμή 深度\n<|end|>second\nwith lines\n\nand a gap<|end|>"


def test_tokens_of_an_earlier_pod_are_used_again(seed_model: Path, tmp_path: Path, text: Path) -> None:
    before = written((str(text),), seed_model, tmp_path / "tokens")
    text.write_text("changed meanwhile")
    assert written((str(text),), seed_model, tmp_path / "tokens") == before


@pytest.mark.parametrize(
    ("content", "vocabulary", "error", "reason"),
    [
        (b"caf\xe9", VOCABULARY, DataError, "NotUtf8"),
        (None, VOCABULARY, DataError, "MissingText"),
        (b"the quick brown fox", 20, ConfigurationError, "VocabularyTooSmall"),
        (b"a", VOCABULARY, DataError, "TextTooShort"),
    ],
)
def test_bad_text_is_named(
    content: bytes | None, vocabulary: int, error: type[JobError], reason: str, seed_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "some.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error) as caught:
        tokenize((str(path),), seed_model, vocabulary, LENGTH, tmp_path / "tokens")
    assert caught.value.reason == reason
    assert not (tmp_path / "tokens").exists()


def test_a_text_that_was_too_short_is_read_again(seed_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "some.txt"
    path.write_text("a")
    with pytest.raises(DataError, match=r"has \d tokens, one sequence needs 5"):
        written((str(path),), seed_model, tmp_path / "tokens")
    path.write_text("the quick brown fox")
    assert written((str(path),), seed_model, tmp_path / "tokens") == "the quick brown fox<|end|>"
