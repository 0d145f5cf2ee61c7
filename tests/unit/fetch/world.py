"""A tiny model on a hub of the tests' own, and the Job that fetches it."""

import json
import math
import os
import struct
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest import mock

from deepseek_runtime.fetch import model
from deepseek_runtime.fetch.troubles import Patience
from deepseek_runtime.weights import shapes
from deepseek_runtime.wire.job import FetchJob
from deepseek_runtime.wire.result import JobResult
from tokenizers import Tokenizer, models

REPO = "tiny/model"
TOKEN = "hf_confidential"
QUICK = Patience(first=0.002, longest=0.01, asked=0.05, total=5.0)
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 2,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "intermediate_size": 2,
    "vocab_size": 2,
    "max_position_embeddings": 128,
    "torch_dtype": "bfloat16",
}
"""A model of 84 bytes, which the first shard holds beside other bytes."""


def tokenizer(*words: str) -> bytes:
    """A tokenizer.json of these words, numbered from 0."""
    vocabulary = {word: number for number, word in enumerate(words)}
    return Tokenizer(models.WordLevel(vocabulary, unk_token=words[0])).to_str().encode()


def safetensors(tensors: Mapping[str, tuple[int, ...]], filler: str, size: int) -> bytes:
    """A file of bfloat16 tensors and of one with so many bytes more, all of them random."""
    entries, end = {}, 0
    for name, shape in tensors.items():
        begin, end = end, end + 2 * math.prod(shape)
        entries[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    entries[filler] = {"dtype": "U8", "shape": [size], "data_offsets": [end, end + size]}
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + os.urandom(end + size)


def repository(*sizes: int, **config: Any) -> dict[str, bytes]:
    """The files of a model whose shards have these sizes, and what else lies in a repository."""
    model = dict(shapes.expected("Llama", CONFIG))
    shards = {
        f"model-{number}.safetensors": safetensors({} if number else model, f"w{number}", size)
        for number, size in enumerate(sizes)
    }
    index = {"weight_map": {f"w{number}": f"model-{number}.safetensors" for number in range(len(sizes))}}
    return {
        "config.json": json.dumps(CONFIG | config).encode(),
        "model.safetensors.index.json": json.dumps(index).encode(),
        "tokenizer.json": tokenizer("tiny", "model"),
        "empty.json": b"",
        "README.md": b"# tiny",
        "modeling_tiny.py": b"raise SystemExit",
        "pytorch_model.bin": b"\x80\x04.",
        **shards,
    }


def job(url: str, output: Path, **more: Any) -> FetchJob:
    """The Job that fetches it, allowed to ask the loopback address."""
    fields: dict[str, Any] = {"revision": "main", "allowed_networks": ("127.0.0.0/8",), **more}
    return FetchJob(identity="0" * 64, owner="test", output=str(output), endpoint=url, repo=REPO, **fields)


class Silent:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def update(self, phase: str, **figures: Any) -> None:
        self.told.append({"phase": phase, **figures})


def fetch(url: str, output: Path, reporter: Silent | None = None, **more: Any) -> JobResult:
    """Run the Job."""
    return model.run(job(url, output, **more), reporter or Silent(), QUICK)


def token_file(directory: Path) -> str:
    """Where the token lies."""
    path = directory / "token"
    path.write_text(TOKEN + "\n")
    return str(path)


def small_chunks(size: int = 8192) -> AbstractContextManager[object]:
    """So that small files have many chunks."""
    return mock.patch.object(model, "CHUNK", size)
