"""Plain text as one stream of tokens on disk."""

import json
import logging
import os
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.models import text

log = logging.getLogger(__name__)


def special_token(model: Path, kind: Literal["bos", "eos"]) -> int:
    """The token that begins or ends a text: what the tokenizer's configuration says, else the model's."""
    settings = model / "tokenizer_config.json"
    token = json.loads(settings.read_text()).get(f"{kind}_token") if settings.is_file() else None
    content = token.get("content") if isinstance(token, dict) else token
    number = Tokenizer.from_file(str(model / "tokenizer.json")).token_to_id(content) if content else None
    if number is None:
        number = json.loads((model / "config.json").read_text()).get(f"{kind}_token_id")
    if isinstance(number, list):
        number = number[0] if number else None
    if number is None:
        raise ConfigurationError(
            "InvalidConfig", f"Neither tokenizer_config.json nor config.json of {model} names a {kind} token."
        )
    return int(number)


def tokenize(sources: tuple[str, ...], model: Path, vocabulary: int, length: int, target: Path) -> None:
    """Write the text of all sources to `target` as little-endian integers, an end-of-text token after each file.

    The file appears whole or not at all, so that one that is found can be used: a run keeps its tokens even if somebody
    changes the text while it waits for a pod. What cannot be used is not kept: another pod reads what was put right.
    Errors: DataError `TextTooShort` where a sequence of `length` tokens and the one after it are not filled.
    """
    if target.exists():
        return
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    # Special tokens that are written out in a text are text. Those that are added and not special, such as the roles of
    # some models, and those that a Unigram vocabulary can spell are taken for themselves.
    tokenizer.encode_special_tokens = True
    separator = special_token(model, "eos")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    count = 0
    with partial.open("wb") as output:
        for path in text.files(sources):
            for chunk in text.chunks(path):
                count += _write(tokenizer.encode(chunk, add_special_tokens=False).ids, vocabulary, output.fileno())
            count += _write([separator], vocabulary, output.fileno())
        os.fsync(output.fileno())
    if count <= length:
        raise DataError(
            "TextTooShort",
            f"The text has {count} tokens, one sequence needs {length + 1}. Give more text or a smaller "
            "sequenceLength.",
        )
    partial.rename(target)
    log.info("tokenized %d sources into %d tokens", len(sources), count)


def open_tokens(path: Path, vocabulary: int) -> NDArray[np.unsignedinteger]:
    """The tokens written by `tokenize`, mapped, not read."""
    return np.memmap(path, dtype=_dtype(vocabulary), mode="r")


def _dtype(vocabulary: int) -> np.dtype[np.unsignedinteger]:
    return np.dtype("<u2" if vocabulary <= 1 << 16 else "<u4")


def _write(tokens: list[int], vocabulary: int, descriptor: int) -> int:
    if tokens and max(tokens) >= vocabulary:
        raise ConfigurationError(
            "VocabularyTooSmall",
            f"The tokenizer gave token {max(tokens)}, the model has {vocabulary}. Take a model made for it.",
        )
    data = np.asarray(tokens, dtype=_dtype(vocabulary)).tobytes()
    while data:
        data = data[os.write(descriptor, data) :]
    return len(tokens)
