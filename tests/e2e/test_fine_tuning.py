"""A model that is pretrained, then taught answers in the same run, then asked."""

import json

from tests.e2e import journey
from tests.e2e.cluster import Caller, Object, apply, create_key, make_namespace, read, wait_for_condition

NAMESPACE = "e2e-fine-tuning"
ANSWERS = {f"Animal {number}?": f" {name}." for number, name in enumerate(("fox", "dog", "crow", "eel", "yak", "ant"))}


def examples() -> Object:
    """Questions with answers, as text and as conversations, and one that is too long by its second answer."""
    pairs = [{"prompt": ask, "completion": say} for ask, say in ANSWERS.items()]
    talks = [
        {"messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": say.strip()}]}
        for ask, say in ANSWERS.items()
    ]
    long = talks[0]["messages"] + [{**talks[0]["messages"][0], "content": "and " * 200}, talks[0]["messages"][1]]
    lines = "".join(json.dumps(example) + "\n" for example in (*pairs, *talks, {"messages": long}))
    metadata = {"name": "answers", "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"train.jsonl": lines}}


def two_stages() -> Object:
    run = journey.training(NAMESPACE, "taught", steps=10, every=50)
    run["spec"]["stages"].append(
        {
            "name": "sft",
            "type": "sft",
            "data": [{"configMap": {"name": "answers"}}],
            "hyperparameters": {"learningRate": 0.005, "weightDecay": 0, "batchSize": 2, "sequenceLength": 64},
            "until": {"epochs": 60},
        }
    )
    run["spec"]["publish"] = {"model": "taught", "storage": journey.STORAGE}
    return run


def test_pretrained_then_taught_then_asked(gateway: str) -> None:
    make_namespace(NAMESPACE)
    apply(
        journey.text(NAMESPACE),
        examples(),
        journey.scratch(NAMESPACE, "seed"),
        two_stages(),
        journey.service(NAMESPACE, "chat", "taught"),
        *journey.access(NAMESPACE),
    )
    wait_for_condition("trainingruns", NAMESPACE, "taught", "Ready", "True", timeout=300)
    pretrain, sft = read("trainingruns", NAMESPACE, "taught")["status"]["stages"]
    assert pretrain["digest"] != sft["digest"]
    assert sft["step"] == sft["steps"] > 60, "epochs became steps"
    assert sft["examples"] == {"total": 13, "cut": 1, "leftOut": 0}
    assert sft["loss"] < 0.5
    wait_for_condition("inferenceservices", NAMESPACE, "chat", "Ready", "True", timeout=180)
    caller = Caller(gateway, create_key(NAMESPACE, "reader-key", "reader"))
    for ask, say in ANSWERS.items():
        code, body = caller.post({"model": "chat", "prompt": ask, "max_tokens": 12, "temperature": 0})
        assert code == 200, body
        assert body["choices"][0]["text"] == say
        assert body["choices"][0]["finish_reason"] == "stop", "it has learned to end"
