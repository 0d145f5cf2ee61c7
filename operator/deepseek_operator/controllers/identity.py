"""The identity of work: equal inputs, recipe and algorithm give equal bytes, so what is sealed need not be made again.

The image is provenance and no part of it. A recipe's fields that still have the default they were introduced with are
left out: a field that is added later changes no identity, a default that is changed later does.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from deepseek_runtime.wire.base import digest
from deepseek_runtime.wire.job import HttpSource, algorithm
from deepseek_runtime.wire.verification import Verification

from deepseek_operator.api.base import DataSource
from deepseek_operator.api.deepseekmodel.evaluation import BenchmarkSpec, EvaluationSpec, LongContextSpec, TaskSpec
from deepseek_operator.api.deepseekmodel.export import ExportSpec
from deepseek_operator.api.deepseekmodel.quantization import CalibrationSpec, QuantizationSpec
from deepseek_operator.api.deepseekmodel.remote_sources import ObjectStoreSource, OciSource
from deepseek_operator.api.deepseekmodel.signing import SigningKey
from deepseek_operator.api.deepseekmodel.source import ExistingClaimSource, HuggingFaceSource, ScratchSource
from deepseek_operator.api.trainingrun import HubDataset, StageSpec
from deepseek_operator.controllers.hyperparameters import hyperparameters

INTRODUCED: Mapping[str, Mapping[str, Any]] = {
    "build": {"config": {}, "seed": 0, "vocabSize": 4096},
    "fetch": {"revision": "main", "endpoint": "https://huggingface.co", "include": [], "exclude": []},
    "dataset": {"revision": "main", "endpoint": "https://huggingface.co", "include": [], "exclude": []},
    "import": {},
    "publish": {},
    "export": {"calibration": None},
    "quantize": {"ignore": [], "method": "weightOnly", "scope": None, "groupSize": 128, "calibration": None},
    "verify": {},
    "sign": {},
    "evaluate": {"contextLength": 256, "maxTokens": None},
    "compare": {"contextLength": 256, "maxTokens": None},
    "longcontext": {"contextLength": 256, "windows": 4},
    "task": {"file": "task.yaml", "limit": None, "fewShot": None},
    "benchmark": {"promptTokens": 128, "outputTokens": 64, "concurrency": 1},
    "train": {
        "learningRate": 3e-4,
        "minLearningRateRatio": 0.1,
        "warmupSteps": 100,
        "batchSize": 8,
        "sequenceLength": 256,
        "weightDecay": 0.1,
        "gradientClip": 1.0,
        "beta1": 0.9,
        "beta2": 0.95,
        "precision": "bfloat16",
        "seed": 0,
    },
}
"""Defaults as they were when each field came; never edited, only added to."""


Preimage = Mapping[str, Any]
"""What the identity of a work is the digest of: kind, inputs, recipe and algorithm."""


def build_identity(source: ScratchSource) -> str:
    """Of a model with random weights."""
    return digest(build_work(source))


def build_work(source: ScratchSource) -> Preimage:
    """How a model with random weights is made."""
    recipe = {
        "architecture": source.architecture,
        "config": source.config,
        "seed": source.seed,
        "vocabSize": source.tokenizer.vocab_size,
    }
    return _work("build", {"text": _data(source.tokenizer.text)}, recipe)


def fetch_identity(source: HuggingFaceSource) -> str:
    """Of a copy of a hub's repository. The token only opens the door."""
    return _identity("fetch", {"repo": source.repo}, _repository(source))


def dataset_identity(source: HubDataset) -> str:
    """Of a copy of the text in a hub's dataset."""
    return _identity("dataset", {"repo": source.repo}, _repository(source))


def object_store_identity(source: ObjectStoreSource) -> str:
    """Of a copy of what is below a prefix: the place is named, and what is there is taken once."""
    endpoint = source.endpoint.rstrip("/") if source.endpoint is not None else None
    return _identity("fetch", {"objectStore": source.url.rstrip("/"), "endpoint": endpoint}, {})


def http_identity(source: HttpSource) -> str:
    """Of files with these names and digests, or of an archive: another URL of the same bytes is the same work."""
    if source.archive is not None:
        return _identity("fetch", {"archive": source.archive.sha256}, {})
    return _identity("fetch", {"files": {file.path: file.sha256 for file in source.files}}, {})


def oci_identity(source: OciSource) -> str:
    """Of a copy of what a reference means. The pull Secret only opens the door."""
    return _identity("fetch", {"oci": source.reference}, {})


def import_identity(source: ExistingClaimSource) -> str:
    """Of a copy of what lies at a place: the place is named, and what lies there is taken once."""
    path = PurePosixPath(source.path or ".")
    return _identity("import", {"claim": source.claim_name, "path": str(path)}, {})


def publish_identity(input_digest: str) -> str:
    """Of a copy of a run's export."""
    return digest(publish_work(input_digest))


def publish_work(input_digest: str) -> Preimage:
    """How a copy of a run's export is made."""
    return _work("publish", {"digest": input_digest}, {})


def quantize_identity(input_digest: str, quantization: QuantizationSpec) -> str:
    """Of a variant."""
    return digest(quantize_work(input_digest, quantization))


def quantize_work(input_digest: str, quantization: QuantizationSpec) -> Preimage:
    """How a variant is made."""
    absent = "roundToNearest" if quantization.scheme == "int4" else "weightOnly"
    recipe = {
        "scheme": quantization.scheme,
        "ignore": list(quantization.ignore),
        "method": quantization.method or absent,
        "scope": None if quantization.scheme != "int4" and quantization.scope == "all" else quantization.scope,
        "groupSize": group_size(quantization),
        "calibration": _calibration(quantization.calibration),
    }
    return _work("quantize", {"digest": input_digest}, recipe)


def export_identity(input_digest: str, export: ExportSpec) -> str:
    """Of a variant that is exported."""
    return digest(export_work(input_digest, export))


def export_work(input_digest: str, export: ExportSpec) -> Preimage:
    """How an export is made."""
    if export.onnx is not None:
        recipe = {
            "format": "onnx",
            "type": export.onnx.type,
            "calibration": _calibration(export.onnx.calibration),
        }
        return _work("export", {"digest": input_digest}, recipe)
    assert export.gguf is not None, "the resource's rules: an export is the one or the other"  # noqa: S101
    return _work("export", {"digest": input_digest}, {"format": "gguf", "type": export.gguf.type})


def verify_identity(input_digest: str, asked: Verification) -> str:
    """Of a verification. What makes the base does not depend on it."""
    return _identity("verify", {"digest": input_digest, "asked": asked.identity}, {})


def _calibration(calibration: CalibrationSpec | None) -> dict[str, Any] | None:
    if calibration is None:
        return None
    recipe = {"samples": calibration.samples, "sequenceLength": calibration.sequence_length}
    introduced = {"samples": 128, "sequenceLength": 512}
    changed = {name: value for name, value in recipe.items() if introduced[name] != value}
    return {"text": _data(calibration.text), **changed}


def group_size(quantization: QuantizationSpec) -> int:
    """Inputs that share a scale."""
    return quantization.group_size or INTRODUCED["quantize"]["groupSize"]


def evaluate_identity(input_digest: str, evaluation: EvaluationSpec) -> str:
    """Of a measurement."""
    recipe = {"contextLength": evaluation.context_length, "maxTokens": evaluation.max_tokens}
    return _identity("evaluate", {"digest": input_digest, "text": _data(evaluation.text)}, recipe)


def compare_identity(input_digest: str, base_digest: str, evaluation: EvaluationSpec) -> str:
    """Of a comparison of a variant with its base: work of its own, so to ask for it measures nothing else again."""
    recipe = {"contextLength": evaluation.context_length, "maxTokens": evaluation.max_tokens}
    inputs = {"digest": input_digest, "base": base_digest, "text": _data(evaluation.text)}
    return _identity("compare", inputs, recipe)


def long_context_identity(input_digest: str, evaluation: EvaluationSpec, asked: LongContextSpec) -> str:
    """Of a measurement after long and short contexts."""
    recipe = {"tokens": asked.tokens, "windows": asked.windows, "contextLength": evaluation.context_length}
    return _identity("longcontext", {"digest": input_digest, "text": _data(evaluation.text)}, recipe)


def task_identity(input_digest: str, task: TaskSpec) -> str:
    """Of a task's measurement. What the status calls it is no part of it."""
    recipe = {"file": task.file, "limit": task.limit, "fewShot": task.few_shot}
    return _identity("task", {"digest": input_digest, "source": task.source.to_object()}, recipe)


def benchmark_identity(input_digest: str, benchmark: BenchmarkSpec) -> str:
    """Of a benchmark. The machine is no part of it: it is among the conditions that are sealed with the figures."""
    return _identity("benchmark", {"digest": input_digest}, benchmark.to_object())


def sign_identity(input_digest: str, work: Preimage, key: SigningKey) -> str:
    """Of a signature. The operator knows a key by the name it has, for it reads no Secrets."""
    inputs = {"digest": input_digest, "work": digest(work), "secret": key.name, "key": key.key}
    return _identity("sign", inputs, {})


def train_identity(input_digest: str, stage: StageSpec, datasets: Mapping[str, str]) -> str:
    """Of one stage of a run. How many processes share the work is no part of it: they share the same batches.

    `datasets`: the digest of each dataset that was fetched for it, by the identity of the fetch.
    """
    settings = hyperparameters(stage).model_dump(mode="json", by_alias=True)
    recipe = {"type": stage.type, **stage.until.to_object(), **settings}
    data = [
        {"dataset": datasets[dataset_identity(source.hugging_face)]} if source.hugging_face else source.to_object()
        for source in stage.data
    ]
    return _identity("train", {"digest": input_digest, "data": data}, recipe)


def _data(sources: list[DataSource]) -> list[dict[str, Any]]:
    return [source.to_object() for source in sources]


def _repository(source: HuggingFaceSource) -> dict[str, Any]:
    return {
        "revision": source.revision,
        "endpoint": source.endpoint.rstrip("/"),
        "include": list(source.include),
        "exclude": list(source.exclude),
    }


def _identity(kind: str, inputs: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    return digest(_work(kind, inputs, recipe))


def _work(kind: str, inputs: Mapping[str, Any], recipe: Mapping[str, Any]) -> Preimage:
    introduced = INTRODUCED[kind]
    changed = {name: value for name, value in recipe.items() if name not in introduced or introduced[name] != value}
    return {"kind": kind, "inputs": inputs, "recipe": changed, "algorithm": algorithm(kind, recipe)}
