"""One model to its full depth: made in several forms, signed, measured, sized, priced, proven elsewhere, and served."""

import base64
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.quickstart.kube import kubectl
from examples.quickstart.target import Failed
from tests.e2e import journey
from tests.e2e.cluster import (
    Caller,
    Object,
    apply,
    create_key,
    items,
    make_namespace,
    program_pod,
    read,
    wait,
    wait_for_condition,
)
from tests.unit.signing import official

NAMESPACE = "e2e-depth"
FORMS = {
    "dynamic": {"scheme": "int8", "method": "dynamic"},
    "int4": {"scheme": "int4", "groupSize": 32},
    "blocks": {"scheme": "fp8Block"},
}
EDGE = {"name": "edge", "export": {"gguf": {"type": "q8_0"}}}
TASK = """
task: animals
dataset_path: json
dataset_kwargs: {data_files: {test: docs.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: [operator, weather]
doc_to_target: label
metric_list: [{metric: acc}, {metric: acc_norm}]
"""
DOCUMENTS = "".join(json.dumps({"question": f"The {n} th", "label": n % 2}) + "\n" for n in range(6))
TAR = """
import base64, io, tarfile
data = io.BytesIO()
with tarfile.open(fileobj=data, mode="w") as archive:
    archive.add("/v", arcname=".")
print(base64.b64encode(data.getvalue()).decode())
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> official.KeyPair:
    return official.key_pair(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def deep(keys: official.KeyPair) -> Iterator[Object]:
    """The model when it is Ready."""
    make_namespace(NAMESPACE)
    secret = base64.b64encode(keys.private.read_bytes()).decode()
    model = journey.scratch(NAMESPACE, "deep")
    model["spec"] |= {
        "variants": [*({"name": name, "quantization": form} for name, form in FORMS.items()), EDGE],
        "signing": {"keySecretRef": {"name": "signing"}},
        "evaluation": {
            "text": journey.data("heldout.txt"),
            "contextLength": 32,
            "maxTokens": 128,
            "compare": True,
            "longContext": {"tokens": 64, "windows": 1},
            "tasks": [{"name": "animals", "source": {"configMap": {"name": "animals"}}}],
            "benchmark": {"promptTokens": 16, "outputTokens": 8},
        },
    }
    apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": _meta("signing"), "data": {"key.pem": secret}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": _meta("animals"),
            "data": {"task.yaml": TASK, "docs.jsonl": DOCUMENTS},
        },
        journey.text(NAMESPACE),
        *journey.access(NAMESPACE),
        model,
    )
    wait_for_condition("deepseekmodels", NAMESPACE, "deep", "Ready", "True", timeout=900)
    yield read("deepseekmodels", NAMESPACE, "deep")
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_every_number_about_it_is_in_the_status(deep: Object) -> None:
    status = deep["status"]
    artifacts = {artifact["name"]: artifact for artifact in status["artifacts"]}
    assert list(artifacts) == ["base", *FORMS, "edge"]
    edge = artifacts.pop("edge")
    assert (edge["export"]["format"], edge["export"]["type"]) == ("gguf", "q8_0")
    assert edge["bytes"] > edge["weightBytes"] == edge["export"]["weightBytesAfter"]
    assert not edge.keys() & {"scores", "tasks", "benchmark", "quantization"}
    assert {name: part["dtype"] for name, part in artifacts.items()} == {
        "base": "float32", "dynamic": "int8", "int4": "int4", "blocks": "fp8",
    }  # fmt: skip
    base = artifacts["base"]
    for name, share in (("dynamic", 0.6), ("int4", 0.85), ("blocks", 0.6)):  # a third of so small a model stays
        made = artifacts[name]
        assert made["weightBytes"] < share * base["weightBytes"]
        assert made["scores"]["perplexity"] == pytest.approx(base["scores"]["perplexity"], rel=0.1)
        assert 0 <= made["scores"]["klDivergence"] < 0.1
        assert 0 < made["scores"]["top1Agreement"] <= 1
    for part in artifacts.values():
        assert part["longContext"]["ratio"] == pytest.approx(1, rel=0.5)
        (task,) = part["tasks"]
        assert (task["name"], task["documents"]) == ("animals", 6)
        assert all(0 <= metric["value"] <= 1 for metric in task["metrics"])
        assert part["benchmark"]["outputTokensPerSecond"] > 0
        assert part["benchmark"]["timeToFirstTokenMs"] > 0
    assert [each["name"] for each in status["sizing"]["artifacts"]] == list(artifacts)
    assert status["sizing"]["artifacts"][0]["kvBytesPerToken"] == 2 * (32 + 16) * 2
    jobs = items("jobs", NAMESPACE, "deepseek-operator.io/owner-name=deep")
    wait("the cost of every Job", lambda: len(_cost()["jobs"]) == len(jobs), timeout=30)
    assert _cost()["summary"] in kubectl("describe", "dsm", "deep", "-n", NAMESPACE)


@pytest.mark.parametrize(("name", "file"), [("dynamic", "config.json"), ("edge", "model.gguf")])
def test_the_official_tool_verifies_what_was_signed(
    deep: Object, keys: official.KeyPair, tmp_path: Path, name: str, file: str
) -> None:
    made = next(artifact for artifact in deep["status"]["artifacts"] if artifact["name"] == name)
    volume = _volume(made["claim"], tmp_path)
    signature = volume / made["signature"]["path"]
    assert official.verify(volume / "artifact", keys, signature) is None
    signed = json.loads(base64.b64decode(json.loads(signature.read_text())["dsseEnvelope"]["payload"]))
    recipe = signed["predicate"]["provenance"]["predicate"]["buildDefinition"]["externalParameters"]["recipe"]
    assert recipe == ({"format": "gguf", "type": "q8_0"} if name == "edge" else FORMS[name])
    (volume / "artifact" / file).write_text("{}")
    assert official.verify(volume / "artifact", keys, signature) is not None


def test_another_model_proves_that_it_is_the_same(deep: Object) -> None:
    """By the digest that the first one's status shows; another digest is refused and nothing is sealed."""
    base = deep["status"]["artifacts"][0]
    copy = journey.resource("DeepSeekModel", NAMESPACE, "copy", {
        "source": {"existingClaim": {"claimName": base["claim"], "path": "artifact"}},
        "verification": {"digest": base["digest"]},
        "storage": journey.STORAGE,
        "jobs": journey.SMALL_POD,
    })  # fmt: skip
    other = json.loads(json.dumps(copy))
    other["metadata"]["name"], other["spec"]["verification"]["digest"] = "other", "0" * 64
    apply(copy, other)
    assert base["digest"] in wait_for_condition("dsm", NAMESPACE, "other", "Stalled", "True", timeout=90)["message"]
    assert "digest" not in read("dsm", NAMESPACE, "other")["status"]
    wait_for_condition("dsm", NAMESPACE, "copy", "Ready", "True", timeout=90)
    assert wait_for_condition("dsm", NAMESPACE, "copy", "Verified", "True", timeout=5)
    assert read("dsm", NAMESPACE, "copy")["status"]["verification"]["digest"] == base["digest"]
    kubectl("delete", "dsm", "copy", "other", "-n", NAMESPACE, "--timeout=60s")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_answers(deep: Object, gateway: str, form: str) -> None:
    apply(journey.service(NAMESPACE, form, "deep", form))
    wait_for_condition("inferenceservices", NAMESPACE, form, "Ready", "True", timeout=120)
    caller = Caller(gateway, create_key(NAMESPACE, f"{form}-key", "reader"))

    def answered() -> bool:
        code, body = caller.post({"model": form, "prompt": "The operator", "max_tokens": 4, "temperature": 0})
        return code == 200 and body["usage"]["completion_tokens"] >= 1

    wait(f"an answer of {form}", answered, timeout=30)
    kubectl("delete", "dsis", form, "-n", NAMESPACE, "--timeout=60s")


def test_a_form_that_nothing_can_make_is_refused(deep: Object) -> None:
    model = journey.scratch(NAMESPACE, "wrong")
    model["spec"]["variants"] = [{"name": "a", "quantization": {"scheme": "fp8", "method": "dynamic"}}]
    with pytest.raises(Failed, match="method"):
        apply(model)


def _cost() -> Object:
    found: Object = read("deepseekmodels", NAMESPACE, "deep")["status"]["cost"]
    return found


def _meta(name: str) -> Object:
    return {"name": name, "namespace": NAMESPACE}


def _volume(claim: str, directory: Path) -> Path:
    """A copy of what lies on a claim."""
    apply(program_pod(NAMESPACE, "reader", "import time; time.sleep(600)", claim))
    kubectl("wait", "pod/reader", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=60s")
    text = kubectl("exec", "-n", NAMESPACE, "reader", "--", "/opt/venv/bin/python3", "-c", TAR)
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(text))) as archive:
        archive.extractall(directory, filter="data")
    kubectl("delete", "pod", "reader", "-n", NAMESPACE, "--timeout=60s")
    return directory
