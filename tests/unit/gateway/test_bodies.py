"""Bodies: what is refused, with which parameter named, and that nothing slips past the duplicate detector."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from deepseek_runtime.gateway.openai.errors import ApiError
from deepseek_runtime.gateway.openai.request import CompletionRequest, check_length, parse
from deepseek_runtime.gateway.openai.strict_json import parse_object
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.gateway.world import world

GOOD = {"model": "chat", "prompt": "x"}


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": -1}, {"temperature": 2.1}, {"temperature": "1"}, {"top_p": 0}, {"top_p": 1.01}, {"top_k": -2},
        {"max_tokens": 0}, {"max_tokens": 1.5}, {"max_tokens": True}, {"max_tokens": 10**9}, {"max_tokens": 129},
        {"seed": 2**63}, {"stop": ["a"] * 5}, {"stop": [""]}, {"logprobs": 6}, {"user": "u" * 513}, {"ignore_eos": 1},
        {"n": 3}, {"best_of": 2}, {"echo": True}, {"logit_bias": {"5": 1}}, {"suffix": "x"}, {"stream": "yes"},
        {"stream_options": {"include_usage": True}}, {"stream": True, "stream_options": {"extra": 1}},
        {"colour": "red"},
        {"frequency_penalty": 3}, {"presence_penalty": -2.5}, {"repetition_penalty": 0}, {"model": 7},
        {"prompt": ["a", "b"]}, {"prompt": []}, {"prompt": [-1]}, {"prompt": [1] * 128}, {"prompt": None},
    ],
)  # fmt: skip
def test_a_parameter_out_of_range_is_named(change: dict[str, Any]) -> None:
    param = list(change)[-1]
    with pytest.raises(ApiError) as raised:
        check_length(parse(CompletionRequest, parse_object(orjson.dumps({**GOOD, **change}))), 128)
    error = raised.value.document()["error"]
    assert (raised.value.status, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert f"'{param}" in error["message"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"model": "chat", "prompt": ', "JSON: unexpected end of data: line 1 column 29"),
        (b"", "JSON"), (b"[]", "object"), (b'"x"', "object"), (b'{"prompt": NaN}', "JSON"),
        (b'{"prompt": "\\ud800"}', "JSON"),
        (b'{"prompt": "\xff"}', "JSON"), (b'{"a":' * 2000, "JSON"), (b"\xef\xbb\xbf{}", "JSON"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "JSON"),
        (b'{"model": "chat", "model": "x", "prompt": "x"}', "'model' is given twice"),
        (b'{"model": "chat", "mod\\u0065l": "x", "prompt": "x"}', "'model' is given twice"),
        (b'{"stream_options": {"include_usage": true, "include_usage": false}}', "'include_usage' is given twice"),
    ],
)  # fmt: skip
def test_a_broken_body(body: bytes, words: str) -> None:
    with pytest.raises(ApiError) as raised:
        parse(CompletionRequest, parse_object(body))
    assert (raised.value.status, raised.value.kind) == (400, "invalid_request_error")
    assert words in raised.value.message


async def test_what_is_refused_never_reaches_the_engine(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        it.kubernetes.allow("reader")
        key = it.kubernetes.put_key()
        for body in (b'{"model": "chat", ', {**GOOD, "temperature": -1}, {**GOOD, "max_tokens": 129}):
            status, answer = await it.post(key, body)
            assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
        assert not it.engine.requests
        assert not it.of_kind("intent")


async def test_size_encoding_path_and_method(tmp_path: Path) -> None:
    async with world(tmp_path, max_body_bytes=2000) as it:
        key = it.kubernetes.put_key()
        status, body = await it.post(key, {**GOOD, "prompt": "x" * 2000})
        assert (status, body["error"]["code"]) == (413, "request_too_large")

        async def endless() -> Any:
            for _ in range(10):
                yield b"x" * 500

        authorization = {"Authorization": f"Bearer {key}"}
        async with it.http.post(f"{it.url}/v1/completions", data=endless(), headers=authorization) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (413, "request_too_large")
        assert (await it.post(key, GOOD, **{"Content-Encoding": "gzip"}))[0] == 415
        for method, path, expected in (
            ("POST", "/v1/embeddings", 404), ("GET", "/v1", 404), ("GET", "/v1/completions", 405),
            ("DELETE", "/v1/models/x", 405),
        ):  # fmt: skip
            async with it.http.request(method, it.url + path, headers={"x-request-id": "bad id"}) as response:
                assert response.status == expected
                assert set((await response.json())["error"]) == {"message", "type", "param", "code"}
                assert response.headers["x-request-id"].startswith("req_")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.dictionaries(st.text(max_size=3), JSON, max_size=4)


@given(MEMBERS)
def test_without_duplicates_nothing_changes(document: dict[str, Any]) -> None:
    assert parse_object(orjson.dumps(document)) == document


@given(st.data(), MEMBERS.filter(bool), st.integers(0, 3), st.booleans())
def test_a_duplicate_is_found_at_every_depth(
    data: st.DataObject, document: dict[str, Any], depth: int, escaped: bool
) -> None:
    key = data.draw(st.sampled_from(sorted(document)))
    again = '"' + "".join(f"\\u{unit:04x}" for unit in _utf16(key)) + '"' if escaped else json.dumps(key)
    text = json.dumps(document)[:-1] + f", {again}: 1}}"
    for _ in range(depth):
        text = data.draw(st.sampled_from(['{{"in": {}}}', '{{"a": [0, {}]}}'])).format(text)
    with pytest.raises(ApiError) as raised:
        parse_object(text.encode())
    assert raised.value.code == "duplicate_key"
    assert raised.value.param == key


def _utf16(text: str) -> list[int]:
    raw = text.encode("utf-16-be")
    return [int.from_bytes(raw[index : index + 2], "big") for index in range(0, len(raw), 2)]


@given(st.booleans(), st.booleans())
def test_only_what_was_parsed_is_forwarded(stream: bool, usage: bool) -> None:
    neutral: dict[str, Any] = {"n": 1, "best_of": 1, "echo": False, "logit_bias": {}, "suffix": None}
    document = {**GOOD, **neutral, "stop": ["."], "top_k": -1}
    if stream:
        document |= {"stream": True, "stream_options": {"include_usage": usage}}
    request = parse(CompletionRequest, document)
    forwarded = orjson.loads(request.forwarded("served"))
    streaming = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    assert forwarded == {"model": "served", "prompt": "x", "stop": ["."], "top_k": -1, **streaming}
    assert request.wants_usage is (stream and usage)
    assert not {"prompt", "stop", "model"} & set(request.parameters())
    assert set(forwarded) <= set(CompletionRequest.model_fields)
