"""The tokenizer, as keys of a GGUF file: byte-level BPE, special tokens and chat template."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gguf import GGUFWriter, TokenType
from tokenizers import AddedToken
from transformers import PretrainedConfig

from deepseek_runtime.chat import template, tokens
from deepseek_runtime.export.gguf import pre_tokenizer
from deepseek_runtime.export.gguf.unsupported import unsupported
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.serve.tokenizer import BYTES, Tokenizer

MODEL = "gpt2"
"""What llama.cpp calls byte-level BPE."""
NEEDED = frozenset(letter for letter, byte in BYTES.items() if byte not in (0xC0, 0xC1) and byte < 0xF5)
"""Letters of the bytes that UTF-8 uses: no text has one of the others, and DeepSeek's own vocabularies lack them."""


def add(header: GGUFWriter, directory: Path, config: PretrainedConfig) -> None:
    """Write the tokenizer that engines here read from a model's directory.

    Errors: DataError `UnsupportedExport` naming what llama.cpp's tokenizers lack, `BadTokenizer`, `BadFile` for a chat
    template that cannot be read.
    """
    tokenizer = Tokenizer(directory, config)
    described: dict[str, Any] = json.loads(tokenizer.backend.to_str())
    added = tokenizer.backend.get_added_tokens_decoder()
    _check(described["model"], added)
    header.add_tokenizer_model(MODEL)
    header.add_tokenizer_pre(pre_tokenizer.name(described))
    names, types = _tokens(described["model"]["vocab"], added, config.vocab_size)
    header.add_token_list(names)
    header.add_token_types(types)
    header.add_token_merges([_merge(merge) for merge in described["model"]["merges"]])
    try:
        chat = template.load(directory)
    except template.BadTemplateError as error:
        raise DataError("BadFile", f"{error} Replace it by an intact copy.") from error
    special = chat.special if chat is not None else {}
    _add_special(header, tokenizer, special, config)
    if chat is not None:
        header.add_chat_template(chat.source)


def _check(model: Mapping[str, Any], added: Mapping[int, AddedToken]) -> None:
    plain = {"dropout": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "byte_fallback": False}
    if model["type"] != "BPE" or any((model.get(key) or None) != (value or None) for key, value in plain.items()):
        raise unsupported(f"The tokenizer is {model['type']} and not plain byte-level BPE.")
    if missing := NEEDED - model["vocab"].keys():
        bytes_missing = f"{len(missing)} of the {len(NEEDED)} bytes of UTF-8"
        raise unsupported(f"The tokenizer is no byte-level BPE: it has no token for {bytes_missing}.")
    if odd := [token.content for token in added.values() if token.lstrip or token.rstrip or token.single_word]:
        raise unsupported(f"The token {odd[0]!r} takes the space around it, which GGUF has no form for.")


def _tokens(
    vocabulary: Mapping[str, int], added: Mapping[int, AddedToken], count: int
) -> tuple[list[str], list[TokenType]]:
    """All tokens in their order; numbers without one, as where a vocabulary is padded, are marked unused."""
    names, types = [f"[PAD{number}]" for number in range(count)], [TokenType.UNUSED] * count
    for text, number in vocabulary.items():
        names[number], types[number] = text, TokenType.NORMAL
    for number, token in added.items():
        control = tokens.is_control(token)
        names[number], types[number] = token.content, TokenType.CONTROL if control else TokenType.USER_DEFINED
    return names, types


def _merge(merge: str | list[str]) -> str:
    return merge if isinstance(merge, str) else " ".join(merge)


def _add_special(
    header: GGUFWriter, tokenizer: Tokenizer, special: Mapping[str, str], config: PretrainedConfig
) -> None:
    ids = {name: tokenizer.backend.token_to_id(text) for name, text in special.items()}
    begin, ends = tokenizer.encode(""), sorted(tokenizer.end)
    if not ends or len(ends) > len(_ENDS):
        raise unsupported(f"The model ends an answer with {len(ends)} tokens; GGUF has a place for 1 to {len(_ENDS)}.")
    if (named := ids.get("eos_token")) in ends:
        ends.sort(key=lambda number: number != named)
    if len(begin) > 1:
        raise unsupported(f"The tokenizer begins a text with {len(begin)} tokens, and llama.cpp with one.")
    bos = begin[0] if begin else ids.get("bos_token", config.bos_token_id)
    # Where a file does not name it, llama.cpp takes token 11 for it.
    header.add_bos_token_id(bos if isinstance(bos, int) else ends[0])
    header.add_add_bos_token(bool(begin))
    header.add_add_eos_token(value=False)
    for number, add_end in zip(ends, _ENDS, strict=False):
        add_end(header, number)
    if isinstance(pad := ids.get("pad_token", config.pad_token_id), int):
        header.add_pad_token_id(pad)


_ENDS = (GGUFWriter.add_eos_token_id, GGUFWriter.add_eot_token_id, GGUFWriter.add_eom_token_id)
"""What ends an answer: of a text, of a turn and of a message. llama.cpp stops at each."""
