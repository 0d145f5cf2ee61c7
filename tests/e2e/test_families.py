"""The other architectures that can be made from scratch: built, served on two ranks, asked."""

import pytest

from examples.quickstart.kube import kubectl
from tests.e2e import journey
from tests.e2e.cluster import Caller, apply, wait_for_condition

LLAMA = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "max_position_embeddings": 256,
}


@pytest.mark.parametrize("architecture", ["DeepSeekV2", "Llama"])
def test_a_new_model_answers(life: str, caller: Caller, architecture: str) -> None:
    name = architecture.lower()
    model = journey.scratch(life, name, architecture)
    if architecture == "Llama":
        model["spec"]["source"]["scratch"]["config"] = LLAMA
    apply(model, journey.service(life, name, name, tensor=2))
    wait_for_condition("inferenceservices", life, name, "Ready", "True", timeout=180)
    status, answer = caller.post({"model": name, "prompt": "Hello", "max_tokens": 3, "ignore_eos": True})
    assert status == 200
    assert answer["usage"]["completion_tokens"] == 3
    kubectl("delete", f"dsis/{name}", f"dsm/{name}", "-n", life)
