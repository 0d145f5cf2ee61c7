"""Good resources that have nearly every field, and what the schema's rules say of changes to them."""

from collections.abc import Iterator
from typing import Any

from deepseek_operator.api.base import ApiModel
from deepseek_operator.api.deepseekmodel.spec import DeepSeekModelSpec
from deepseek_operator.api.inferenceservice import InferenceServiceSpec
from deepseek_operator.api.names import MODEL, SERVICE, TRAINING
from deepseek_operator.api.trainingrun import TrainingRunSpec
from deepseek_operator.controllers.decision import Object
from deepseek_operator.desired.quantity import amount
from pydantic import ValidationError

from tests.unit.controllers.builders import TINY

SPECS: dict[str, type[ApiModel]] = {MODEL: DeepSeekModelSpec, TRAINING: TrainingRunSpec, SERVICE: InferenceServiceSpec}

_TOLERATION = {"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoExecute", "tolerationSeconds": 60}
PODS = {
    "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "4Gi"}},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [_TOLERATION],
    "priorityClassName": "high",
    "runtimeClassName": "nvidia",
    "imagePullSecrets": ["registry"],
}
DATA = [{"claim": {"claimName": "text", "path": "train.txt"}}, {"configMap": {"name": "text", "key": "a.txt"}}]
STORAGE = {"size": "10Gi", "storageClassName": "fast", "accessModes": ["ReadWriteMany"]}
SCRATCH = {
    "architecture": "DeepSeekV3",
    "config": TINY,
    "tokenizer": {"vocabSize": 512, "text": DATA},
    "seed": 7,
}
VARIANT = {
    "name": "int8",
    "quantization": {"scheme": "int8", "ignore": ["lm_head"]},
    "gate": {"maxPerplexityIncrease": 0.02},
}
PLAIN = {"name": "plain", "quantization": {"scheme": "int8"}}
GATE = {
    "maxPerplexityIncrease": 0.02,
    "maxKlDivergence": 0.01,
    "minTop1Agreement": 0.9,
    "maxTaskScoreDecrease": 0.05,
    "action": "Warn",
}
SMALL = {
    "name": "small",
    "quantization": {
        "scheme": "int4",
        "method": "roundToNearest",
        "scope": "experts",
        "groupSize": 32,
        "ignore": ["lm_head"],
        "parallelism": 2,
    },
    "gate": GATE,
}
CALIBRATED = {
    "name": "static",
    "quantization": {
        "scheme": "int8",
        "method": "static",
        "calibration": {"text": DATA, "samples": 64, "sequenceLength": 64},
    },
}
CACHE = {"claimName": "disks", "capacity": "100Gi", "artifacts": ["base", "plain"], "pods": PODS}
EDGE = {"name": "edge", "export": {"gguf": {"type": "q8_0"}}}
INT8_GRAPH = {"type": "int8", "calibration": {"text": DATA, "samples": 64, "sequenceLength": 64}}
DENSE = {
    "source": {
        "scratch": {**SCRATCH, "architecture": "Llama", "config": {"hidden_size": 64, "max_position_embeddings": 256}}
    },
    "storage": STORAGE,
    "variants": [
        {"name": "desk", "export": {"onnx": {"type": "float32"}}},
        {"name": "phone", "export": {"onnx": INT8_GRAPH}},
    ],
}
"""A model without experts, exported for onnxruntime."""
PROOF = "a" * 64
PUBLIC_KEY = f"-----BEGIN PUBLIC KEY-----\n{'Ma' * 40}\n-----END PUBLIC KEY-----\n"
DATASET = {
    "huggingFace": {
        "repo": "tiny/text",
        "revision": "v1",
        "endpoint": "https://mirror.example",
        "tokenSecretRef": {"name": "hub", "key": "token"},
        "include": ["*.txt"],
        "exclude": ["*.md"],
    }
}


def model(source: Object) -> Object:
    """The spec of a model."""
    evaluation = {"text": DATA, "contextLength": 128, "maxTokens": 4096}
    return {
        "source": source,
        "storage": STORAGE,
        "variants": [VARIANT, PLAIN],
        "evaluation": evaluation,
        "cache": CACHE,
        "jobs": PODS,
    }


DEEP = {
    "source": {"scratch": SCRATCH},
    "verification": {"digest": PROOF, "files": [{"path": "config.json", "sha256": PROOF}]},
    "signing": {"keySecretRef": {"name": "release", "key": "signer.pem"}},
    "storage": STORAGE,
    "variants": [SMALL, CALIBRATED, EDGE],
    "evaluation": {
        "text": DATA,
        "contextLength": 64,
        "maxTokens": 4096,
        "compare": True,
        "longContext": {"tokens": 128, "windows": 2},
        "benchmark": {"promptTokens": 32, "outputTokens": 16, "concurrency": 2},
        "tasks": [
            {
                "name": "capitals",
                "source": {"claim": {"claimName": "tasks", "path": "capitals"}},
                "file": "capitals.yaml",
                "limit": 50,
                "fewShot": 2,
            },
            {"name": "rivers", "source": {"configMap": {"name": "rivers"}}},
        ],
    },
}
"""A model that proves and measures all that it can."""
SIGNED = {"signature": {"publicKey": PUBLIC_KEY, "file": "release.sig"}, "allow": ["AutoMap"]}


def plain(source: Object) -> Object:
    """The spec of a model with nothing beside it."""
    return {"source": source, "storage": STORAGE}


RUN = {
    "base": {"model": "seed"},
    "stages": [
        {"name": "pretrain", "type": "pretrain", "data": DATA, "until": {"steps": 40}},
        {"name": "answers", "type": "sft", "data": DATA, "until": {"epochs": 2}},
    ],
    "compute": {**PODS, "nodes": 2, "processes": 2},
    "checkpoint": {"everySteps": 50, "keep": 3, "storage": STORAGE},
    "publish": {"model": "handbook", "storage": STORAGE},
    "suspend": False,
}
SERVED = {
    "model": {"name": "seed", "variant": "int8"},
    "replicas": 2,
    "parallelism": {"tensor": 2},
    "engine": {"contextLength": 128, "maxSequences": 16, "cacheTokens": 4096},
    "pods": PODS,
}
GOOD: dict[str, tuple[str, str, Object]] = {
    "model-from-scratch": (MODEL, "seed", model({"scratch": SCRATCH})),
    "model-of-a-hub": (
        MODEL,
        "seed",
        model(
            {
                "huggingFace": {
                    "repo": "tiny/model",
                    "revision": "v1",
                    "endpoint": "https://mirror.example",
                    "tokenSecretRef": {"name": "hub", "key": "token"},
                    "include": ["*.safetensors", "*.json"],
                    "exclude": ["*.md"],
                }
            }
        ),
    ),
    "model-to-depth": (MODEL, "seed", DEEP),
    "model-dense": (MODEL, "seed", DENSE),
    "model-signed": (MODEL, "seed", {**plain({"huggingFace": {"repo": "tiny/model"}}), "verification": SIGNED}),
    "model-of-a-store": (
        MODEL,
        "seed",
        plain(
            {
                "objectStore": {
                    "url": "s3://models/tiny",
                    "endpoint": "https://store.example",
                    "region": "eu-central-1",
                    "credentialsSecretRef": {"name": "store"},
                }
            }
        ),
    ),
    "model-of-urls": (
        MODEL,
        "seed",
        plain({"http": {"files": [{"url": "https://a.example/config.json", "sha256": PROOF, "path": "config.json"}]}}),
    ),
    "model-of-an-archive": (
        MODEL,
        "seed",
        plain({"http": {"archive": {"url": "https://a.example/model.tar", "sha256": PROOF}}}),
    ),
    "model-of-a-registry": (
        MODEL,
        "seed",
        plain(
            {
                "oci": {
                    "reference": "registry.example/models/tiny:v1",
                    "plainHttp": True,
                    "pullSecretRef": {"name": "pull"},
                }
            }
        ),
    ),
    "model-on-a-claim": (MODEL, "seed", model({"existingClaim": {"claimName": "weights", "path": "tiny"}})),
    "model-of-a-run": (MODEL, "handbook", model({"trainingRun": {"name": "pretrain", "stage": "pretrain"}})),
    "run": (TRAINING, "pretrain", RUN),
    "run-on-a-dataset": (
        TRAINING,
        "pretrain",
        {**RUN, "stages": [{"name": "pretrain", "type": "pretrain", "data": [DATASET], "until": {"steps": 40}}]},
    ),
    "service": (SERVICE, "chat", SERVED),
}
"""Kind, name and spec."""


def full(kind: str, spec: Object) -> Object:
    """As the API server stores it: with all defaults."""
    return SPECS[kind].model_validate(spec).to_object()


def refusal(kind: str, old: Object, new: Object) -> str | None:
    """What the schema or its rules have against this change, None if nothing. The API server is asked, too."""
    try:
        spec = full(kind, new)
    except ValidationError as error:
        return str(error.errors(include_url=False)[0]["msg"])
    return next((message for broken, message in _rules(kind, full(kind, old), spec) if broken), None)


def _rules(kind: str, old: Object, new: Object) -> Iterator[tuple[bool, str]]:
    for node in _objects(new):
        yield from _shared_rules(node)
    if kind == MODEL:
        variants = new["variants"]
        gated = any("gate" in variant for variant in variants)
        figures = {"maxPerplexityIncrease", "maxKlDivergence", "minTop1Agreement", "maxTaskScoreDecrease"}
        empty = any("gate" in variant and not figures & variant["gate"].keys() for variant in variants)
        yield empty, "a gate needs at least one figure"
        yield gated and "evaluation" not in new, "a variant with a gate needs evaluation"
        on_tasks = any("maxTaskScoreDecrease" in variant.get("gate", {}) for variant in variants)
        taskless = not new.get("evaluation", {}).get("tasks")
        yield on_tasks and taskless, "a gate with maxTaskScoreDecrease needs evaluation.tasks"
        yield len(new["source"]) != 1, "exactly one source"
        yield len({variant["name"] for variant in variants}) < len(variants), "Duplicate value"
        both = [variant for variant in variants if ("quantization" in variant) == ("export" in variant)]
        yield bool(both), "a variant has either quantization"
        yield from _export_rules(new)
        gated_exports = any("gate" in variant and "export" in variant for variant in variants)
        yield gated_exports, "an export has no gate"
        forms = [variant["quantization"] for variant in variants if "quantization" in variant]
        methods = {"int8": {"weightOnly", "dynamic", "static"}, "int4": {"roundToNearest", "gptq"}}
        mixed = (form.get("method", "") not in {"", *methods.get(form["scheme"], ())} for form in forms)
        yield any(mixed), "method can be"
        calibrated = [form.get("method") in ("static", "gptq") for form in forms]
        yield calibrated != ["calibration" in form for form in forms], "the methods static and gptq need calibration"
        shared = (form["parallelism"] > 1 and "calibration" in form for form in forms)
        yield any(shared), "parallelism is for methods without calibration"
        whole = [form for form in forms if form["scheme"] in ("fp8Block", "bf16")]
        yield any("scope" in form or form["ignore"] for form in whole), "fp8Block and bf16 are of all weights"
        yield from _depth_rules(new)
        yield from _cache_rules(new)
        yield any("groupSize" in form and form["scheme"] != "int4" for form in forms), "groupSize is for int4 only"
    if kind == TRAINING:
        yield (old["base"], old["stages"]) != (new["base"], new["stages"]), "a run happens once"
        ranks = new["compute"]["nodes"] * new["compute"]["processes"]
        yield any(stage["hyperparameters"]["batchSize"] % ranks for stage in new["stages"]), "batchSize"
    if kind == SERVICE:
        longest = new["engine"].get("contextLength", 0)
        yield longest > new["engine"]["cacheTokens"], "contextLength must not exceed cacheTokens"


def _export_rules(new: Object) -> Iterator[tuple[bool, str]]:
    exports = [variant["export"] for variant in new["variants"] if "export" in variant]
    yield any(("gguf" in export) == ("onnx" in export) for export in exports), "an export is either gguf or onnx"
    graphs = [export["onnx"] for export in exports if "onnx" in export]
    uncalibrated = any((graph["type"] == "int8") != ("calibration" in graph) for graph in graphs)
    yield uncalibrated, "type int8 needs calibration"
    architecture = new["source"].get("scratch", {}).get("architecture", "Llama")
    yield bool(graphs) and architecture != "Llama", "export.onnx is for dense models"


def _cache_rules(new: Object) -> Iterator[tuple[bool, str]]:
    if (cache := new.get("cache")) is None:
        return
    yield "ReadWriteMany" not in new["storage"]["accessModes"], "storage.accessModes must have ReadWriteMany"
    served = {"base", *(variant["name"] for variant in new["variants"] if "quantization" in variant)}
    yield not set(cache["artifacts"]) <= served, "cache.artifacts must name"
    yield len(set(cache["artifacts"])) < len(cache["artifacts"]), "Duplicate value"
    yield amount(cache["capacity"]) <= 0, "capacity must be greater than 0"


def _depth_rules(new: Object) -> Iterator[tuple[bool, str]]:
    """Of sources, proof and measurements."""
    source, asked = new["source"], new.get("verification", {})
    made = "scratch" in source or "trainingRun" in source
    yield made and bool("signature" in asked or asked.get("allow")), "a model that is made here has no signature"
    yield "signing" in new and not made and not new["variants"], "signing signs what is made here"
    files = [file["path"] for file in asked.get("files", ())]
    yield len(set(files)) < len(files), "Duplicate value"
    measured = new.get("evaluation", {})
    long = measured.get("longContext", {}).get("tokens", 2 * measured.get("contextLength", 0))
    yield long < 2 * measured.get("contextLength", 0), "longContext.tokens must be at least twice contextLength"
    tasks = measured.get("tasks", ())
    yield len({task["name"] for task in tasks}) < len(tasks), "Duplicate value"
    yield any(len(task["source"]) != 1 for task in tasks), "exactly one of claim and configMap must be given"
    yield any("key" in task["source"].get("configMap", {}) for task in tasks), "the source of a task is a folder"
    if (store := source.get("objectStore")) is not None:
        yield store["url"].startswith("az://") and "endpoint" not in store, "an az:// url needs endpoint"
        yield "region" in store and not store["url"].startswith("s3://"), "region is for s3:// alone"
    if (web := source.get("http")) is not None:
        yield ("files" in web) == ("archive" in web), "exactly one of files and archive must be given"


def _shared_rules(node: Object) -> Iterator[tuple[bool, str]]:
    for name in ("text", "data"):
        for source in node.get(name, ()) if isinstance(node.get(name), list) else ():
            kinds = len({"claim", "configMap", "huggingFace"} & source.keys())
            yield kinds != 1, "exactly one of claim, configMap and huggingFace must be given"
    if "limits" in node:
        limits, requests = node["limits"], node.get("requests", {})
        over = any(amount(value) > amount(limits[name]) for name, value in requests.items() if name in limits)
        yield over, "a request must not exceed its limit"
    if "operator" in node:
        yield "key" not in node and node["operator"] != "Exists", "a toleration without a key"
        yield "value" in node and node["operator"] != "Equal", "the operator Exists has no value"
        yield "tolerationSeconds" in node and node.get("effect") != "NoExecute", "tolerationSeconds needs NoExecute"


def _objects(node: Any) -> Iterator[Object]:
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _objects(child)
