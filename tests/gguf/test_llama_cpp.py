"""llama.cpp itself reads the exported files: the same tokens of texts, and of the f16 file the same greedy answers."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from deepseek_runtime.export.gguf import model
from deepseek_runtime.serve.tokenizer import Tokenizer
from deepseek_runtime.weights.load import load_config, load_model

from tests.unit.export.exported import export
from tests.unit.serve.models import CONFIGS, greedy, make_model

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
