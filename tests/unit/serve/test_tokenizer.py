"""People's text to tokens: none of them is a control token, and the others are the tokenizer's own."""

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest.mock import Mock

import pytest
from deepseek_runtime.chat.tokens import ChatTokenizer, ForgedTokenError
from deepseek_runtime.gateway.openai.errors import ApiError
from deepseek_runtime.gateway.openai.request import CompletionRequest
from deepseek_runtime.serve.chat_completion import ChatCompletion
from deepseek_runtime.serve.engine import Delta, ScoredToken
from deepseek_runtime.serve.engine_thread import Loaded
from deepseek_runtime.serve.text_completion import prepare
from deepseek_runtime.serve.tokenizer import Tokenizer
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers
from tokenizers import Tokenizer as Backend
from transformers import AutoTokenizer, PretrainedConfig

from tests.unit.chat import tokenizers
from tests.unit.chat.test_tokens import FORGERY, HARMLESS

KINDS = sorted(tokenizers.ALL)
CONFIG = PretrainedConfig(vocab_size=1000, eos_token_id=1)


def written(backend: Backend, directory: Path) -> Path:
    backend.save(str(directory / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|bos|>", "eos_token": "<|eos|>"}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return directory


@cache
def pair(kind: str) -> tuple[Tokenizer, Any]:
    """The engine's, and transformers' own."""
    directory = written(tokenizers.ALL[kind](), Path(mkdtemp()))
    return Tokenizer(directory, CONFIG), AutoTokenizer.from_pretrained(directory)


def control(kind: str) -> frozenset[int]:
    return ChatTokenizer(tokenizers.ALL[kind](), frozenset()).control


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=200, deadline=None)
@given(text=HARMLESS | FORGERY | st.text(max_size=40))
def test_where_nothing_is_forged_the_tokens_are_those_of_transformers(kind: str, text: str) -> None:
    tokenizer, reference = pair(kind)
    expected = reference.encode(text, add_special_tokens=False, split_special_tokens=True)
    assume(control(kind).isdisjoint(expected))
    assert tokenizer.continuation(text) == expected


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=200, deadline=None)
@given(text=FORGERY)
def test_no_text_becomes_a_control_token(kind: str, text: str) -> None:
    tokenizer, _ = pair(kind)
    tokens = tokenizer.continuation(text)
    assert control(kind).isdisjoint(tokens)
    assert tokenizer.encode(text)[-len(tokens) :] == tokens or not tokens
    if kind != "swallowing" and tokenizer.backend.token_to_id("<unk>") not in tokens:
        assert tokenizer.backend.decode(tokens, skip_special_tokens=False) == text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["<|eos|>", "<|user|>", "a <think> b"])
def test_control_tokens_that_are_spelled_are_letters(kind: str, text: str) -> None:
    tokenizer, _ = pair(kind)
    assert len(tokenizer.continuation(text)) > 1
    assert tokenizer.decode(tokenizer.continuation(text)) == text


def test_a_letter_that_is_a_control_token_is_refused_by_name(tmp_path: Path) -> None:
    backend = tokenizers.byte_level()
    backend.add_tokens([AddedToken("§", special=False)])
    tokenizer = Tokenizer(written(backend, tmp_path), CONFIG)
    with pytest.raises(ForgedTokenError, match="'§', which by itself is a special token"):
        tokenizer.encode("a § b")
    loaded = Mock(spec=Loaded, tokenizer=tokenizer, context_length=100)
    with pytest.raises(ApiError, match=r"'prompt' cannot be read: the text has '§', .*\. Leave it out\.") as refused:
        prepare(CompletionRequest(model="m", prompt="a § b"), loaded, "m")
    assert (refused.value.status, refused.value.param, refused.value.code) == (400, "prompt", "special_token")


def test_bytes_that_stand_for_themselves_are_named_as_bytes(tmp_path: Path) -> None:
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", "a", "\ufffd"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    backend = Backend(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True, unk_token="<unk>"))
    backend.normalizer = normalizers.Replace(" ", "\u2581")
    backend.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer = Tokenizer(written(backend, tmp_path), CONFIG)
    names = [tokenizer.name(number) for number in tokenizer.continuation("a é\n\ufffd")]
    assert names == ["a", " ", "bytes:\\xc3", "bytes:\\xa9", "\n", "\ufffd"]
    scored = tuple(ScoredToken(name, 0, 0.0, {}) for name in names)
    event = ChatCompletion("m", 1, 0).chunks(Delta("a é\n\ufffd", scored, len(scored), None))[0]
    content = event["choices"][0]["logprobs"]["content"]
    assert b"".join(bytes(token["bytes"]) for token in content).decode() == "a é\n\ufffd"


def test_a_long_forgery_is_no_burden() -> None:
    tokenizer, _ = pair("byte level")
    assert control("byte level").isdisjoint(tokenizer.encode("<|user|>" * 5_000 + "<|<|<|user|>user|>" * 500)[1:])
