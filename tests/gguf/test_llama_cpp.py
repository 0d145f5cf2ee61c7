"""llama.cpp itself reads the exported files: the same tokens of texts, and of the f16 file the same greedy answers."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from deepseek_runtime.export.gguf import model, pre_tokenizer
from deepseek_runtime.serve.tokenizer import Tokenizer
from deepseek_runtime.weights import manifest
from deepseek_runtime.weights.load import load_config, load_model
from tokenizers import Regex, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from tests.unit.export.exported import export, read
from tests.unit.serve.models import CONFIGS, VOCABULARY, greedy, make_model, make_tokenizer

PYTHON = os.environ.get("LLAMA_CPP_PYTHON", "build/gguf/bin/python")
COUNT = 24
TEXTS = [
    "the quick brown fox jumps over the lazy dog",
    "naïve café, 中文字符也在这里, 12345 67 ٣٤٥  \n\n x\t\ty",
    "  leading  and trailing   ",
    "I'll they're WE'VE don't 'tis 's",
    "<|end|> is <|begin|> text here",
    "emoji 🚀 😶‍🌫️ \r\n\r\n end; f(x)=[a_1]{2}^3 // 100%",
    "",
]


def cutting(steps: tuple[str, ...]) -> Backend:
    """A tokenizer that cuts text in these steps, and has merged much of the texts."""
    parts = [
        pre_tokenizers.Digits(individual_digits=True)
        if step == pre_tokenizer.DIGITS
        else pre_tokenizers.Split(Regex(step), "isolated")
        for step in steps
        if step != pre_tokenizer.BYTE_LEVEL
    ]
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pre_tokenizer.BYTE_LEVEL in steps)
    tokenizer = make_tokenizer()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*parts, last])
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|begin|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return tokenizer


CUTS = [
    *((steps, name, False) for steps, name in pre_tokenizer.NAMES.items()),
    *(
        (steps, whole, True)
        for steps, name in pre_tokenizer.NAMES.items()
        if (whole := pre_tokenizer.WHOLE_WORDS.get(name))
    ),
]


@pytest.mark.parametrize(("steps", "name", "whole"), CUTS, ids=[name for _, name, _ in CUTS])
def test_text_is_cut_as_the_tokenizer_cuts_it(steps: tuple[str, ...], name: str, whole: bool, tmp_path: Path) -> None:
    source = tmp_path / "model"
    make_model("llama", source)
    described = json.loads(cutting(steps).to_str())
    described["model"]["ignore_merges"] = whole
    (source / "tokenizer.json").write_text(json.dumps(described), "utf-8")
    manifest.write(source)
    export(source, tmp_path / "out")
    assert read(tmp_path / "out")[0]["tokenizer.ggml.pre"] == name
    tokenizer = Tokenizer(source, load_config(source))
    found = ask(tmp_path / "out" / "artifact" / model.FILE, [], TEXTS)
    assert found["tokens"] == [tokenizer.encode(text) for text in TEXTS]


def ask(file: Path, prompts: list[list[int]], texts: list[str]) -> Mapping[str, Any]:
    question = file.parent.parent / "question.json"
    question.write_text(json.dumps({"model": str(file), "prompts": prompts, "texts": texts, "count": COUNT}), "utf-8")
    script = Path(__file__).with_name("answers.py")
    done = subprocess.run([PYTHON, str(script), str(question)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-2000:]
    answers: Mapping[str, Any] = json.loads(done.stdout)
    return answers


@pytest.mark.parametrize("kind", ["f16", "q8_0", "q4_0"])
@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_the_tokens_of_texts_and_the_greedy_answers_are_the_same(name: str, kind: str, tmp_path: Path) -> None:
    source = tmp_path / "model"
    make_model(name, source)
    export(source, tmp_path / "out", kind)
    tokenizer = Tokenizer(source, load_config(source))
    prompts = [tokenizer.encode(text) for text in TEXTS[:4]]
    found = ask(tmp_path / "out" / "artifact" / model.FILE, prompts, TEXTS)
    assert found["tokens"] == [tokenizer.encode(text) for text in TEXTS]
    assert all(len(answer) == COUNT for answer in found["answers"])
    if kind == "f16":
        loaded = load_model(source, torch.float32)
        assert found["answers"] == [greedy(loaded, prompt, COUNT) for prompt in prompts]


ORIGINAL = {"factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 10000.0}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}}),
        ("llama", {"rope_parameters": {"rope_type": "yarn", **ORIGINAL}}),
        (
            "llama",
            {"rope_parameters": {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0, **ORIGINAL}},
        ),
        ("v3", {"rope_interleave": False}),
        ("v2", {"rope_parameters": {"rope_type": "yarn", "mscale": 0.707, "mscale_all_dim": 0.707, **ORIGINAL}}),
    ],
    ids=["linear", "yarn", "llama3", "halves", "latent-yarn"],
)
def test_positions_are_rotated_the_same(name: str, change: dict[str, Any], tmp_path: Path) -> None:
    source = tmp_path / "model"
    make_model(name, source)
    config = json.loads((source / "config.json").read_text("utf-8"))
    (source / "config.json").write_text(json.dumps({**config, **change}), "utf-8")
    manifest.write(source)
    export(source, tmp_path / "out")
    tokenizer, loaded = Tokenizer(source, load_config(source)), load_model(source, torch.float32)
    prompts = [tokenizer.encode(" ".join(TEXTS)), *(tokenizer.encode(text) for text in TEXTS[:2])]
    found = ask(tmp_path / "out" / "artifact" / model.FILE, prompts, [])
    assert found["answers"] == [greedy(loaded, prompt, COUNT) for prompt in prompts]
