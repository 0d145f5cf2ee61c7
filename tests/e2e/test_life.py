"""From random weights to an answer: what a user sees at the end."""

import openai
import pytest

from examples.quickstart.kube import kubectl
from tests.e2e.cluster import Caller, items, only_pod, read


def test_the_status_tells_the_whole_story(life: str) -> None:
    status = read("deepseekmodels", life, "handbook")["status"]
    base, int8 = status["artifacts"]
    assert (base["name"], int8["name"]) == ("base", "int8")
    assert status["digest"] == base["digest"] != int8["digest"]
    quantization = int8["quantization"]
    assert quantization["expertBytesAfter"] < 0.35 * quantization["expertBytesBefore"]
    assert quantization["weightBytesAfter"] < 0.6 * quantization["weightBytesBefore"]
    for artifact in status["artifacts"]:
        assert 1 < artifact["scores"]["perplexity"] < 512
    assert int8["scores"]["perplexity"] == pytest.approx(base["scores"]["perplexity"], rel=0.05)
    stage = read("trainingruns", life, "pretrain")["status"]["stages"][0]
    assert stage["step"] == stage["steps"] == 60
    assert stage["loss"] < 6.2  # ln(512) is what random weights have
    assert read("inferenceservices", life, "chat")["status"]["serving"]["digest"] == int8["digest"]


def test_kubectl_get_shows_it_at_a_glance(life: str) -> None:
    table = kubectl("get", "dsm,dstr,dsis", "-n", life)
    for word in ("handbook", "pretrain", "chat", "True", "Ready", "Complete"):
        assert word in table


def test_an_openai_client_gets_an_answer(life: str, caller: Caller) -> None:
    client = openai.OpenAI(base_url=f"{caller.url}/v1", api_key=caller.key, max_retries=0)
    with client:
        assert [model.id for model in client.models.list()] == [f"{life}/chat"]
        answer = client.completions.create(model="chat", prompt="The operator", max_tokens=12, seed=1)
        assert answer.choices[0].finish_reason in {"length", "stop"}
        assert answer.usage is not None
        assert answer.usage.completion_tokens <= 12
        parts = list(
            client.completions.create(
                model="chat",
                prompt="The operator",
                max_tokens=12,
                seed=1,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        assert "".join(part.choices[0].text for part in parts if part.choices) == answer.choices[0].text
        assert parts[-1].usage == answer.usage


def test_two_ranks_answer_in_one_pod(life: str) -> None:
    pod = only_pod(life, "deepseek-operator.io/owner-name=chat")
    kubectl("wait", "pod", pod["metadata"]["name"], "-n", life, "--for=condition=Ready", "--timeout=60s")
    listing = kubectl(
        "exec", "-n", life, pod["metadata"]["name"], "--", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
    )
    assert listing.count("deepseek_runtime") + listing.count("multiprocessing") >= 2


def test_no_pod_holds_a_credential(life: str) -> None:
    """That they are restricted is the API server's to enforce: the namespace asks for it."""
    pods = items("pods", life, "app.kubernetes.io/managed-by=deepseek-operator")
    assert pods
    for pod in pods:
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert not [volume for volume in pod["spec"]["volumes"] if "secret" in volume or "projected" in volume]
        for container in pod["spec"]["containers"]:
            assert "envFrom" not in container
            assert not [entry for entry in container["env"] if "valueFrom" in entry]
