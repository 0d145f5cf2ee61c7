"""What the API server makes of the three resources: defaults, refusals, updates."""

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from deepseek_operator.api.crd import RESOURCES, Resource, schema
from deepseek_operator.api.names import MODEL, SERVICE, TRAINING

from tests.integration.api import Api, path
from tests.integration.objects import MAKERS, TEXT, model, scratch, service, training

Object = dict[str, Any]
Place = tuple[str | int, ...]


def changed(obj: Object, place: Place, value: Any) -> Object:
    """A copy with one value put at a place; the way there is made where it is missing."""
    obj = copy.deepcopy(obj)
    node: Any = obj
    for step, following in itertools.pairwise(place):
        if isinstance(node, dict):
            node = node.setdefault(step, [] if isinstance(following, int) else {})
        else:
            node.extend([{}] * (int(step) + 1 - len(node)))
            node = node[step]
    if isinstance(node, list):
        node.insert(int(place[-1]), value)
    else:
        node[place[-1]] = value
    return obj


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.kind)
def test_every_default_of_the_models_is_the_servers(resource: Resource, api: Api, namespace: str) -> None:
    """The operator may read a live spec by the models and see what the server stored, and nothing else."""
    wanted = MAKERS[resource.kind](namespace)
    spec = api.create(wanted).ok()["spec"]
    assert spec == resource.spec.model_validate(wanted["spec"]).to_object()
    assert spec == resource.spec.model_validate(spec).to_object()


@pytest.mark.parametrize("kind", MAKERS)
def test_a_fresh_object_has_been_seen_by_nobody(kind: str, api: Api, namespace: str) -> None:
    obj = api.create(MAKERS[kind](namespace)).ok()
    assert obj["status"]["observedGeneration"] == -1
    assert api.get(path(obj)).ok()["status"]["conditions"] == []


PODS: dict[str, Place] = {MODEL: ("spec", "jobs"), TRAINING: ("spec", "compute"), SERVICE: ("spec", "pods")}
DATA: dict[str, Place] = {
    MODEL: ("spec", "source", "scratch", "tokenizer", "text", 0),
    TRAINING: ("spec", "stages", 0, "data", 0),
}
LONG = "a" * 41
METHODS = "method can be weightOnly, dynamic or static with int8, roundToNearest or gptq with int4"
NEED_CALIBRATION = "the methods static and gptq need calibration"
MADE_HERE = "a model that is made here has no signature and nothing to allow"
PUBLIC_KEY = f"-----BEGIN PUBLIC KEY-----\n{'A' * 64}\n-----END PUBLIC KEY-----\n"
EXPORT = {"gguf": {"type": "f16"}}
ONNX = {"onnx": {"type": "float32"}}
CALIBRATED = {"type": "float32", "calibration": {"text": [{"claim": {"claimName": "c"}}]}}
GATED = {"name": "int8", "quantization": {"scheme": "int8"}, "gate": {"maxPerplexityIncrease": 0.02}}
BROKEN: list[tuple[str, Place, Any, str]] = [
    *((kind, ("metadata", "name"), LONG, "metadata.name must have at most 40 characters") for kind in MAKERS),
    *((kind, ("metadata", "name"), "a.b", "metadata.name must have no dot") for kind in MAKERS),
    *((kind, (*pods, "resources", "requests"), {"cpu": 3}, "a request must not exceed") for kind, pods in PODS.items()),
    *((kind, (*pods, "tolerations", 0), toleration, message) for kind, pods in PODS.items() for toleration, message in (
        ({"value": "x"}, "a toleration without a key needs the operator Exists"),
        ({"key": "x", "operator": "Exists", "value": "x"}, "a toleration with the operator Exists has no value"),
        ({"key": "x", "tolerationSeconds": 1}, "tolerationSeconds needs the effect NoExecute"),
    )),
    *((kind, place, data, message) for kind, place in DATA.items() for data, message in (
        ({"claim": {"claimName": "c", "path": "a/../b"}}, "path must not contain '..'"),
        ({"claim": {"claimName": "c", "path": "/etc"}}, "should match '^[^/"),
    )),
    *((kind, DATA[kind], data, f"exactly one of {known} must be given") for kind, known in (
        (MODEL, "claim and configMap"), (TRAINING, "claim, configMap and huggingFace"),
    ) for data in ({}, {"claim": {"claimName": "c"}, "configMap": {"name": "c"}})),
    (TRAINING, (*DATA[TRAINING], "huggingFace"), {"repo": "a/b"}, "exactly one of claim, configMap and huggingFace"),
    (TRAINING, DATA[TRAINING], {"huggingFace": {"repo": "a"}}, "should match"),
    (MODEL, DATA[MODEL], {"huggingFace": {"repo": "a/b"}}, 'unknown field "spec.source.scratch.tokenizer.text'),
    (MODEL, ("spec", "source"), {}, "exactly one of existingClaim, http, huggingFace, objectStore, oci, scratch"),
    *((MODEL, ("spec", "source"), {"objectStore": store}, message) for store, message in (
        ({"url": "az://c/p"}, "an az:// url needs endpoint"),
        ({"url": "gs://bucket/p", "region": "eu"}, "region is for s3:// alone"),
        ({"url": "s3://bucket/a/../b"}, "url must not contain '.' or '..' as a folder"),
        ({"url": "file:///etc"}, "should match"),
    )),
    (MODEL, ("spec", "source"), {"oci": {"reference": "tiny/model:v1"}}, "should match"),
    *((MODEL, ("spec", "source"), {"http": http}, message) for http, message in (
        ({}, "exactly one of files and archive"),
        ({"archive": {"url": "https://x/a.tar", "sha256": "0"}}, "should match"),
        ({"files": [{"url": "https://x/a", "sha256": "0" * 64, "path": "../a"}]}, "should match"),
        ({"files": [{"url": "file:///a", "sha256": "0" * 64}]}, "should match"),
    )),
    (MODEL, ("spec", "source", "trainingRun"), {"name": "r"}, "exactly one of existingClaim, http, huggingFace"),
    (MODEL, ("spec", "source"), {"existingClaim": {"claimName": "c", "path": "../x"}}, "path must not contain '..'"),
    (MODEL, ("spec", "source"), {"existingClaim": {"path": "x"}}, "Required value"),
    (MODEL, ("spec", "source", "scratch", "architecture"), "GPT2", 'values: "DeepSeekV3", "DeepSeekV2", "Llama"'),
    *((MODEL, ("spec", "cache"), {"claimName": "disks", "capacity": "1Gi", **more}, message) for more, message in (
        ({}, "cache copies each volume to several nodes: storage.accessModes must have ReadWriteMany"),
        ({"capacity": 0}, "capacity must be greater than 0"),
        ({"artifacts": ["int8"]}, "cache.artifacts must name base or quantized variants"),
        ({"claimName": ""}, "should be at least 1 chars long"),
    )),
    (MODEL, ("spec", "variants"), [{"name": "base", "quantization": {"scheme": "int8"}}], "the name base is taken"),
    (MODEL, ("spec", "variants"), [{"name": "a", "quantization": {"scheme": "int8"}}] * 2, "Duplicate value"),
    *((MODEL, ("spec", "variants"), [{"name": "a", "quantization": quantization}], message)
      for quantization, message in (
        ({"scheme": "int8", "method": "roundToNearest"}, METHODS),
        ({"scheme": "fp8", "method": "dynamic"}, METHODS),
        ({"scheme": "int8", "groupSize": 64}, "groupSize is for int4 only"),
        ({"scheme": "int4", "groupSize": 48}, "Unsupported value: 48"),
        ({"scheme": "bf16", "ignore": ["*"]}, "fp8Block and bf16 are of all weights"),
        ({"scheme": "fp8Block", "scope": "experts"}, "fp8Block and bf16 are of all weights"),
        ({"scheme": "int8", "method": "static"}, NEED_CALIBRATION),
        (
            {
                "scheme": "int8",
                "method": "static",
                "calibration": {"text": [{"claim": {"claimName": "c"}}]},
                "parallelism": 2,
            },
            "parallelism is for methods without calibration",
        ),
        ({"scheme": "int8", "parallelism": 65}, "less than or equal to 64"),
        ({"scheme": "int8", "calibration": {"text": [{"claim": {"claimName": "c"}}]}}, NEED_CALIBRATION),
        ({"scheme": "int8", "method": "gptq", "calibration": {"text": [{"claim": {"claimName": "c"}}]}}, METHODS),
    )),
    (MODEL, ("spec", "variants"), [{"name": "a"}], "a variant has either quantization"),
    (MODEL, ("spec", "variants"), [{**GATED, "export": EXPORT}], "a variant has either quantization"),
    (MODEL, ("spec", "variants"), [{"name": "a", "export": EXPORT, "gate": GATED["gate"]}], "an export has no gate"),
    (MODEL, ("spec", "variants"), [{"name": "a", "export": {}}], "an export is either gguf or onnx"),
    (MODEL, ("spec", "variants"), [{"name": "a", "export": {**EXPORT, **ONNX}}], "an export is either gguf or onnx"),
    (MODEL, ("spec", "variants"), [{"name": "a", "export": ONNX}], "export.onnx is for dense models, Llama"),
    (MODEL, ("spec", "variants"), [{"name": "a", "export": {"onnx": {"type": "int8"}}}], "type int8 needs calibration"),
    (MODEL, ("spec", "variants"), [{"name": "a", "export": {"onnx": CALIBRATED}}], "float32 takes none"),
    (MODEL, ("spec", "variants"), [{"name": "a", "export": {"gguf": {"type": "q5_0"}}}], '"f16", "q8_0", "q4_0"'),
    (MODEL, ("spec", "variants"), [GATED], "a variant with a gate needs evaluation"),
    (MODEL, ("spec", "variants"), [{**GATED, "gate": {"action": "Warn"}}], "a gate needs at least one of"),
    (MODEL, ("spec", "variants"), [{**GATED, "gate": {"minTop1Agreement": 98}}], "less than or equal to 1"),
    (MODEL, ("spec", "variants"), [{**GATED, "gate": {"maxPerplexityIncrease": -0.1}}], "greater than or equal to 0"),
    (MODEL, ("spec", "variants"), [{**GATED, "gate": {"maxTaskScoreDecrease": 2}}], "less than or equal to 1"),
    (
        MODEL,
        ("spec", "variants"),
        [{**GATED, "gate": {"maxTaskScoreDecrease": 0.02}}],
        "a gate with maxTaskScoreDecrease needs evaluation.tasks",
    ),
    (
        MODEL,
        ("spec", "evaluation"),
        {"text": TEXT, "contextLength": 256, "longContext": {"tokens": 500}},
        "longContext.tokens must be at least twice contextLength",
    ),
    *((MODEL, ("spec", "evaluation"), {"text": TEXT, "tasks": [{"name": "a", **task}]}, message) for task, message in (
        ({"source": {"configMap": {"name": "c", "key": "task.yaml"}}}, "the source of a task is a folder"),
        ({"source": {"configMap": {"name": "c"}}, "file": "../task.yaml"}, "should match"),
        ({"source": {}}, "exactly one of claim and configMap"),
    )),
    (MODEL, ("spec", "verification"), {"signature": {"publicKey": PUBLIC_KEY}}, MADE_HERE),
    (MODEL, ("spec", "verification"), {"allow": ["AutoMap"]}, MADE_HERE),
    (
        MODEL,
        ("spec",),
        {"source": {"existingClaim": {"claimName": "c"}}, "signing": {"keySecretRef": {"name": "s"}}},
        "signing signs what is made here",
    ),
    (MODEL, ("spec", "verification"), {"allow": ["Pickles"]}, 'values: "AutoMap", "UnsafeTemplate"'),
    (MODEL, ("spec", "verification"), {"files": [{"path": "a", "sha256": "0" * 64}] * 2}, "Duplicate value"),
    (MODEL, ("spec", "storage", "size"), "much", "should match"),
    (MODEL, ("spec", "storage", "sise"), "1Gi", 'unknown field "spec.storage.sise"'),
    (MODEL, ("spec", "storage", "accessModes"), [], "should have at least 1 items"),
    (TRAINING, ("spec", "compute", "processes"), 3, "batchSize must be a multiple of compute.nodes times"),
    (TRAINING, ("spec", "stages", 0, "hyperparameters", "learningRate"), 0, "should be greater than 0"),
    (TRAINING, ("spec", "stages", 0, "hyperparameters", "beta2"), 1, "should be less than 1"),
    (TRAINING, ("spec", "stages"), [], "should have at least 1 items"),
    (TRAINING, ("spec", "stages", 0, "until"), {}, "exactly one of steps and epochs must be given"),
    (TRAINING, ("spec", "stages", 0, "until"), {"steps": 1, "epochs": 1}, "exactly one of steps and epochs"),
    (TRAINING, ("spec", "stages", 0, "type"), "rlhf", 'supported values: "pretrain", "sft"'),
    (SERVICE, ("metadata", "name"), "7b", "metadata.name must begin with a letter"),
    (SERVICE, ("spec", "engine", "contextLength"), 40000, "engine.contextLength must not exceed engine.cacheTokens"),
    (SERVICE, ("spec", "replicas"), -1, "should be greater than or equal to 0"),
    (SERVICE, ("spec", "parallelism", "tensor"), "2", "must be of type integer"),
    (SERVICE, ("spec", "model", "name"), None, "Required value"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "place", "value", "message"), BROKEN)
def test_what_is_wrong_is_refused_in_words(
    kind: str, place: Place, value: Any, message: str, api: Api, namespace: str
) -> None:
    obj = MAKERS[kind](namespace)
    if "requests" in place:
        obj = changed(obj, (*place[:-1], "limits"), {"cpu": "2500m"})
    answer = api.create(changed(obj, place, value))
    assert answer.code in {400, 422}
    assert message in answer.message


def test_quantities_may_be_numbers(api: Api, namespace: str) -> None:
    limits = {"cpu": 2, "memory": "4Gi", "nvidia.com/gpu": 1}
    obj = api.create(service(namespace, pods={"resources": {"limits": limits, "requests": {"cpu": "500m"}}})).ok()
    read = next(resource for resource in RESOURCES if resource.kind == SERVICE).spec.model_validate(obj["spec"])
    assert read.to_object()["pods"]["resources"]["limits"] == {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"}


def test_a_run_happens_once(api: Api, namespace: str) -> None:
    run = api.create(training(namespace)).ok()
    for patch in (
        {"base": {"model": "other"}},
        {"stages": [{"name": "one", "type": "pretrain", "data": TEXT, "until": {"steps": 11}}]},
    ):
        assert "a run happens once" in api.merge(run, {"spec": patch}).message
    suspended = api.merge(run, {"spec": {"suspend": True}}).ok()
    assert suspended["metadata"]["generation"] == 2


def test_a_model_keeps_what_the_architecture_will_judge(api: Api, namespace: str) -> None:
    config = {"hidden_size": 192, "rope_scaling": {"type": "yarn", "factor": 4.0}, "layers": [1, "two", None]}
    source = scratch()
    source["scratch"]["config"] = config
    obj = api.create(model(namespace, source=source)).ok()
    assert obj["spec"]["source"]["scratch"]["config"] == config


def _rules(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (rule["message"] for rule in node.get("x-kubernetes-validations", ()))
        for child in node.values():
            yield from _rules(child)


def test_every_rule_is_exercised_above() -> None:
    refused = {message for _, _, _, message in BROKEN} | {"a run happens once"}
    for resource in RESOURCES:
        for message in _rules(schema(resource)):
            assert any(message.startswith(tried) for tried in refused), message
