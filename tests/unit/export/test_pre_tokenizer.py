"""A tokenizer has a name in llama.cpp only where its steps are, one for one, those of that name."""

from typing import Any

import pytest
from deepseek_runtime.export.gguf import pre_tokenizer
from deepseek_runtime.job.errors import DataError

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
NUMBERS, IDEOGRAPHS, WORDS = next(steps for steps, name in pre_tokenizer.NAMES.items() if name == "deepseek-v3")


def split(pattern: str, **changes: Any) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False, **changes}


def described(steps: list[dict[str, Any]], merges: list[Any] | None = None, **model: Any) -> dict[str, Any]:
    sequence = {"type": "Sequence", "pretokenizers": steps}
    return {"normalizer": None, "pre_tokenizer": sequence, "model": {"merges": merges or [], **model}}


V3 = [split(NUMBERS), split(IDEOGRAPHS), split(WORDS), BYTES]


def test_the_steps_of_deepseek_v3_are() -> None:
    assert pre_tokenizer.name(described(V3)) == "deepseek-v3"
    empty = {**described(V3), "normalizer": {"type": "Sequence", "normalizers": []}}
    assert pre_tokenizer.name(empty) == "deepseek-v3"


def test_whole_words_make_another_name() -> None:
    llama3 = next(steps for steps, name in pre_tokenizer.NAMES.items() if name == "smaug-bpe")
    steps = [split(llama3[0]), BYTES]
    assert pre_tokenizer.name(described(steps)) == "smaug-bpe"
    assert pre_tokenizer.name(described(steps, ignore_merges=True)) == "llama-bpe"


@pytest.mark.parametrize(
    "steps",
    [
        V3[1:],
        [*V3[:3]],
        [V3[1], V3[0], *V3[2:]],
        [split("[0-9]{1,3}"), *V3[1:]],
        [split(NUMBERS, behavior="Removed"), *V3[1:]],
        [split(NUMBERS, invert=True), *V3[1:]],
        [*V3[:3], {**BYTES, "use_regex": True}],
        [*V3[:3], {**BYTES, "add_prefix_space": True}],
        [{"type": "Whitespace"}, *V3],
        [],
    ],
)
def test_what_resembles_them_is_not(steps: list[dict[str, Any]]) -> None:
    with pytest.raises(DataError, match="no name for") as caught:
        pre_tokenizer.name(described(steps))
    assert caught.value.reason == "UnsupportedExport"


@pytest.mark.parametrize("merge", ["1 2", ["1", "2"]])
def test_digits_that_are_merged_would_be_cut_otherwise(merge: Any) -> None:
    coder = next(steps for steps, name in pre_tokenizer.NAMES.items() if name == "deepseek-coder")
    steps = [*(split(step) for step in coder[:-1]), {"type": "Digits", "individual_digits": True}, BYTES]
    assert pre_tokenizer.name(described(steps, ["a 1", "a b"])) == "deepseek-coder"
    with pytest.raises(DataError, match="no name for"):
        pre_tokenizer.name(described(steps, ["a b", merge]))
    with pytest.raises(DataError, match="no name for"):
        pre_tokenizer.name(described(V3, ignore_merges=True))
