"""The trained model as others load it: Hugging Face's layout, float32, with the tokenizer it was trained with."""

import shutil
from pathlib import Path

import torch

from deepseek_runtime.models.ends import GENERATION
from deepseek_runtime.train.checkpoint import Checkpoints
from deepseek_runtime.weights import facts, manifest
from deepseek_runtime.weights.load import load_model
from deepseek_runtime.wire.result import Artifact

TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "vocab*",
    "merges.txt",
)
KEPT_FILES = (*TOKENIZER_FILES, GENERATION)
"""transformers would write where generation stops anew, from config.json, which may name fewer tokens."""


def export(checkpoints: Checkpoints, source: Path, target: Path) -> Artifact:
    """Write the weights of the newest checkpoint with configurations and tokenizer of `source` into `target`.

    From the checkpoint, since no process holds the whole of a sharded model. Returns what was written.
    """
    model = load_model(source, torch.float32)
    checkpoints.read_weights(model)
    model.config.dtype = torch.float32
    model.save_pretrained(target)
    for pattern in KEPT_FILES:
        for file in source.glob(pattern):
            shutil.copyfile(file, target / file.name)
    return facts.artifact(target, manifest.write(target))
