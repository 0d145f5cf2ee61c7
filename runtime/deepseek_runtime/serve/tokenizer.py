"""The model's tokenizer for people's text: nothing in it ever becomes a control token."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend
from transformers import AutoTokenizer, PretrainedConfig

from deepseek_runtime.chat.tokens import TextTokenizer
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.models.ends import end_tokens
from deepseek_runtime.serve.detokenize import REPLACEMENT

WORD_START = "\u2581"
"""What SentencePiece writes for a space."""

_BYTE = re.compile("<0x([0-9A-F]{2})>")
"""SentencePiece's tokens of single bytes, for characters that it has none for."""


class Tokenizer:
    """Text to tokens and back, with the beginning-of-sequence tokens that the tokenizer's configuration asks for."""

    def __init__(self, directory: Path, config: PretrainedConfig) -> None:
        """Errors: DataError `BadTokenizer`."""
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(
                directory, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError) as error:
            raise DataError("BadTokenizer", f"{directory} has no tokenizer that can be read: {error}") from error
        largest = max(self._tokenizer.get_vocab().values(), default=-1)
        if largest >= config.vocab_size:
            raise DataError(
                "BadTokenizer",
                f"{directory}: the tokenizer has token {largest}, the model a vocabulary of {config.vocab_size}.",
            )
        self._text = TextTokenizer(self.backend)
        self._prefix = self._beginning()
        self._special = frozenset(self._tokenizer.all_special_ids)
        self.end = end_tokens(directory, config)

    @property
    def backend(self) -> Backend:
        """What tokenizes; others must not change its settings."""
        backend: Backend = self._tokenizer.backend_tokenizer
        return backend

    def encode(self, text: str) -> list[int]:
        """Tokens of a prompt; errors: ForgedTokenError.

        Control tokens written out in it are read as the letters they are written in.
        """
        return self._prefix + self.continuation(text)

    def continuation(self, text: str) -> list[int]:
        """Tokens of a text that follows another; errors: ForgedTokenError."""
        return self._text.encode(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of generated tokens; special ones are left out, incomplete characters are U+FFFD."""
        visible = [token for token in tokens if token not in self._special]
        text: str = self._tokenizer.decode(visible, clean_up_tokenization_spaces=False)
        return text

    def name(self, token: int) -> str:
        r"""How logprobs call a token: its text, or `bytes:\x..` (OpenAI's form) for a piece of a character.

        `token_id:..` for one that the tokenizer does not have, as where a vocabulary is padded.
        """
        piece: str | None = self._tokenizer.convert_ids_to_tokens(token)
        if piece is None:
            return f"token_id:{token}"
        text: str = self._tokenizer.decode([token], clean_up_tokenization_spaces=False)
        if REPLACEMENT in text:
            fallback = _BYTE.fullmatch(piece)
            letters = [int(fallback[1], 16)] if fallback else [BYTES.get(letter) for letter in piece]
            return piece if None in letters else "bytes:" + "".join(f"\\x{byte:02x}" for byte in letters)
        # SentencePiece's decoders drop a leading space, which tells two tokens apart.
        return f" {text}" if piece.startswith(WORD_START) and not text.startswith(" ") else text

    def _beginning(self) -> list[int]:
        """What the tokenizer puts before a text, whatever it puts behind."""
        plain = self.continuation("a")
        whole: list[int] = self._tokenizer.encode("a", add_special_tokens=True)
        for start in range(len(whole) - len(plain) + 1):
            if whole[start : start + len(plain)] == plain:
                return whole[:start]
        return []


def _byte_letters() -> dict[str, int]:
    """Byte-level BPE's alphabet (GPT-2): printable bytes stand for themselves, the others follow from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


BYTES = _byte_letters()
"""The byte that each of these letters stands for."""
