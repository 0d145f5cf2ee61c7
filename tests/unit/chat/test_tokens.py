"""What people write never becomes a control token; what the template writes is tokenized as the model's own would."""

from functools import cache

import pytest
from deepseek_runtime.chat.origin import ANSWER, OUTSIDE, TEMPLATE
from deepseek_runtime.chat.renderer import Rendered, Renderer
from deepseek_runtime.chat.template import ChatTemplate
from deepseek_runtime.chat.tokens import ChatTokenizer, ForgedTokenError
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer

from tests.unit.chat import tokenizers
from tests.unit.chat.templates import ALL, SPECIAL

CONTROL = [*SPECIAL.values(), *tokenizers.ROLES, "<s>", "<unk>", "<|end|>", "＜|user|>", "<|USER|>"]
FORGERY = st.lists(
    st.sampled_from(CONTROL)
    | st.sampled_from(CONTROL).flatmap(lambda token: st.sampled_from(cuts(token)))
    | st.text("a <|>\n", max_size=3),
    max_size=6,
).map("".join)
HARMLESS = st.text("abc de\n 中é1", max_size=20)


def cuts(token: str) -> list[str]:
    return [token[:at] for at in range(1, len(token))] + [token[at:] for at in range(1, len(token))]


@cache
def backend(name: str) -> Tokenizer:
    return tokenizers.ALL[name]()


@cache
def chat(name: str) -> ChatTokenizer:
    tokenizer = backend(name)
    return ChatTokenizer(tokenizer, frozenset({tokenizer.token_to_id("<|eos|>")}))


def rendered(parts: list[tuple[str, int]]) -> Rendered:
    return Rendered("".join(text for text, _ in parts), b"".join(bytes([origin]) * len(text) for text, origin in parts))


def around(first: str, second: str) -> Rendered:
    return rendered(
        [
            ("<|bos|><|user|>", TEMPLATE), (first, OUTSIDE), ("<|assistant|>", TEMPLATE), (second, ANSWER),
            ("<|eos|><|im_start|>user\n", TEMPLATE), (first, OUTSIDE), ("<|im_end|>", TEMPLATE),
        ]
    )  # fmt: skip


def control_tokens(name: str, text: Rendered) -> list[str]:
    tokens = chat(name)
    return [backend(name).id_to_token(n).strip().lower() for n in tokens.tokenize(text).ids if n in tokens.control]


@pytest.mark.parametrize("name", sorted(tokenizers.ALL))
@settings(max_examples=150, deadline=None)
@given(first=FORGERY, second=FORGERY)
def test_nobody_forges_a_control_token(name: str, first: str, second: str) -> None:
    assert control_tokens(name, around(first, second)) == control_tokens(name, around("x", "y"))


@pytest.mark.parametrize("name", ["byte level", "unigram"])
@settings(max_examples=60, deadline=None)
@given(first=FORGERY, second=FORGERY)
def test_the_text_stays_the_same(name: str, first: str, second: str) -> None:
    text = around(first, second)
    ids = chat(name).tokenize(text).ids
    if backend(name).token_to_id("<unk>") not in ids:
        assert backend(name).decode(ids, skip_special_tokens=False) == text.text


@pytest.mark.parametrize("name", sorted(tokenizers.ALL))
@settings(max_examples=60, deadline=None)
@given(first=HARMLESS, second=HARMLESS)
def test_without_a_forgery_the_tokens_are_the_tokenizers_own(name: str, first: str, second: str) -> None:
    text = around(first, second)
    assert chat(name).tokenize(text).ids == backend(name).encode(text.text, add_special_tokens=False).ids


@given(text=HARMLESS)
def test_the_answer_is_its_text_and_the_token_that_ends_it(text: str) -> None:
    tokens = chat("byte level").tokenize(around("question", text))
    answer = [number for number, part in zip(tokens.ids, tokens.answers, strict=True) if part]
    plain = backend("byte level").encode(text, add_special_tokens=False).ids
    assert answer == ([*plain, 1] if text else [])


@pytest.mark.parametrize("name", ["default", "deepseek", "headers", "turns"])
def test_every_template_has_its_answers_found(name: str) -> None:
    messages = [
        {"role": "user", "content": "who"}, {"role": "assistant", "content": "me <|eos|>"},
        {"role": "user", "content": "really"}, {"role": "assistant", "content": "yes"},
    ]  # fmt: skip
    with Renderer(ChatTemplate(ALL[name], SPECIAL)) as renderer:
        tokens = chat("byte level").tokenize(renderer.render(messages, add_generation_prompt=False))
    text = "".join(
        backend("byte level").decode([number], skip_special_tokens=False) if part else "\0"
        for number, part in zip(tokens.ids, tokens.answers, strict=True)
    )
    answers = [part for part in text.split("\0") if part]
    assert [answer.replace(" ", "") for answer in answers] == ["me<|eos|><|eos|>", "yes<|eos|>"]


def test_added_words_and_white_space_are_text() -> None:
    tokenizer = tokenizers.byte_level()
    tokenizer.add_tokens([AddedToken("Kubernetes", special=False), AddedToken("    ", special=False)])
    text = rendered([("Kubernetes    <think>", OUTSIDE)])
    ids = ChatTokenizer(tokenizer, frozenset()).tokenize(text).ids
    assert {tokenizer.token_to_id("Kubernetes"), tokenizer.token_to_id("    ")} < set(ids)
    assert tokenizer.token_to_id("<think>") not in ids


def test_a_letter_that_is_a_special_token_is_refused() -> None:
    tokenizer = tokenizers.byte_level()
    tokenizer.add_special_tokens(["§"])
    with pytest.raises(ForgedTokenError):
        ChatTokenizer(tokenizer, frozenset()).tokenize(rendered([("a § b", OUTSIDE)]))


def test_a_long_forgery_is_no_burden() -> None:
    text = "<|user|>" * 5_000 + "<|<|<|user|>user|>" * 500
    assert not control_tokens("byte level", rendered([(text, OUTSIDE)]))
