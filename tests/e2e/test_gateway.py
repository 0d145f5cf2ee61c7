"""Calls that must be refused, each with the OpenAI error of its case, and the audit log behind them."""

import json

import pytest

from examples.quickstart.demo import OPERATOR_NAMESPACE
from examples.quickstart.kube import kubectl
from tests.e2e.cluster import Caller, create_key

GOOD = {"model": "chat", "prompt": "Hello", "max_tokens": 4}


def test_without_a_key(life: str, gateway: str) -> None:
    status, body = Caller(gateway, None).post(GOOD)
    assert status == 401
    assert "Authorization" in body["error"]["message"]


@pytest.mark.parametrize("change", ["secret", "name", "form"])
def test_with_a_wrong_key(caller: Caller, change: str) -> None:
    assert caller.key is not None
    prefix, namespace, name, secret = caller.key.split(".")
    wrong = {
        "secret": ".".join((prefix, namespace, name, secret[::-1])),
        "name": ".".join((prefix, namespace, "nobody", secret)),
        "form": "sk-1234",
    }[change]
    status, body = Caller(caller.url, wrong).post(GOOD)
    assert (status, body["error"]["code"]) == (401, "invalid_api_key")


def test_with_an_expired_key(life: str, gateway: str) -> None:
    key = create_key(life, "old-key", "reader", expires="1s")
    status, body = Caller(gateway, key).post(GOOD)
    while status == 200:
        status, body = Caller(gateway, key).post(GOOD)
    assert status == 401
    assert "expired" in body["error"]["message"]


def test_without_the_role_binding(life: str, gateway: str) -> None:
    key = create_key(life, "stranger-key", "stranger")
    status, body = Caller(gateway, key).post(GOOD)
    assert status == 403
    assert "RoleBinding" in body["error"]["message"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b'{"model": "chat", "prompt": ', "JSON"),
        (b'{"model": "chat", "model": "chat", "prompt": "x"}', "model"),
        ({**GOOD, "temperature": -1}, "temperature"),
        ({**GOOD, "max_tokens": 10**9}, "max_tokens"),
        ({**GOOD, "n": 3}, "n"),
        ({**GOOD, "colour": "red"}, "colour"),
    ],
    ids=["broken", "duplicate", "negative-temperature", "too-long", "several", "unknown"],
)
def test_bad_bodies(caller: Caller, body: bytes | dict[str, object], word: str) -> None:
    status, answer = caller.post(body)
    assert status == 400
    assert answer["error"]["type"] == "invalid_request_error"
    assert word in answer["error"]["message"]


def test_an_unknown_model(caller: Caller) -> None:
    status, body = caller.post({**GOOD, "model": "nobody"})
    assert (status, body["error"]["code"]) == (404, "model_not_found")


def test_the_audit_log_has_the_call_without_its_words_and_verifies(caller: Caller) -> None:
    prompt = "a secret of mine"
    status, answer = caller.post({**GOOD, "prompt": prompt})
    assert status == 200
    gateway = ("exec", "-n", OPERATOR_NAMESPACE, "statefulset/deepseek-gateway", "--")
    log = kubectl(*gateway, "sh", "-c", "cat /audit/*/*.jsonl")
    assert prompt not in log
    request = str(answer["id"]).removeprefix("cmpl-")
    records = [record for line in log.splitlines() if (record := json.loads(line)).get("requestId") == request]
    assert [record["kind"] for record in records] == ["intent", "completion"]
    assert records[1]["usage"] == answer["usage"]
    command = ("/opt/venv/bin/python3", "-m", "deepseek_runtime.gateway", "audit", "verify", "/audit")
    assert "whole" in kubectl(*gateway, *command)
