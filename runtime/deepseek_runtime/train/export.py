"""The trained model as others load it: Hugging Face's layout, float32, with the tokenizer it was trained with."""

import shutil
from pathlib import Path

import torch
from transformers import PreTrainedModel

from deepseek_runtime.weights import facts, manifest
from deepseek_runtime.wire.result import Artifact

TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "vocab*",
    "merges.txt",
)


def export(model: PreTrainedModel, source: Path, target: Path) -> Artifact:
    """Write weights, configuration and the tokenizer of `source` into the directory `target`; returns what it holds."""
    model.config.dtype = torch.float32
    model.save_pretrained(target)
    for pattern in TOKENIZER_FILES:
        for file in source.glob(pattern):
            shutil.copyfile(file, target / file.name)
    return facts.artifact(target, manifest.write(target))
