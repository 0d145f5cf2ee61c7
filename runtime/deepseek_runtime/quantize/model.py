"""A copy of a model in another stored form, written tensor by tensor, and file by file gone on with after a kill."""

import json
import shutil
from pathlib import Path
from typing import Any

from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.job.place import place
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.quantize import declared, schemes
from deepseek_runtime.quantize.ledger import Ledger, sha256
from deepseek_runtime.quantize.selection import Scope, Selection, select
from deepseek_runtime.quantize.shards import Conversion
from deepseek_runtime.weights import facts, manifest, safety, seal
from deepseek_runtime.weights.load import load_config
from deepseek_runtime.weights.stored import StoredWeights
from deepseek_runtime.wire.job import QuantizeJob
from deepseek_runtime.wire.result import JobResult, Quantization

_DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


def run(job: QuantizeJob, reporter: Reporter) -> JobResult:
    """Quantize a verified model and seal it.

    Errors: ConfigurationError `AlreadyQuantized` for a base that is quantized, but for DeepSeek's own fp8 blocks, which
    are dequantized on the way; as `select`, `Scheme.layout` and `Conversion.write`.
    """
    source = Path(job.input)
    config = safety.read_json(source / safety.CONFIG)
    _check_base(job, config)
    scheme = schemes.scheme(job)
    dtype = "BF16" if scheme is None else _DTYPES.get(config.get("dtype") or config.get("torch_dtype") or "", "BF16")
    with Ledger(place(job), job.identity) as ledger, StoredWeights(source) as base:
        selection = Selection.nothing()
        if scheme is not None:
            selection = select(load_config(source), base, job.ignore, _scope(job, config))
        conversion = Conversion(base, scheme, selection, dtype)
        _write_weights(conversion, ledger, reporter)
        weight_files = {shard.path.name for shard in base.shards} | {safety.INDEX, safety.CONFIG}
        _copy_others(source, ledger.files, weight_files)
        (ledger.files / safety.CONFIG).write_text(_config(config, job, scheme, selection), "utf-8")
        others = {
            name: sha256(ledger.files / name) for name in manifest.walk(ledger.files).keys() - ledger.hashes.keys()
        }
        written = manifest.record(ledger.files, ledger.hashes | others)
        result = JobResult(
            kind=job.kind,
            identity=job.identity,
            outcome="succeeded",
            artifact=facts.artifact(ledger.files, written),
            quantization=_figures(job, conversion, selection),
        )
        sealed = seal.seal(place(job), job.identity, result)
        ledger.remove()
    return sealed


def _copy_others(source: Path, directory: Path, weight_files: set[str]) -> None:
    for file in manifest.read(source).files:
        if file.path not in weight_files and not file.path.endswith(".sig"):  # a signature is of the base
            (directory / file.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file.path, directory / file.path)


def _scope(job: QuantizeJob, config: dict[str, Any]) -> Scope:
    if job.scope is not None:
        return job.scope
    return "experts" if job.scheme == "int4" and config.get("n_routed_experts") else "all"


def _check_base(job: QuantizeJob, config: dict[str, Any]) -> None:
    found = declared.scheme(config)
    if found is not None and (found != declared.BLOCK or job.scheme == declared.BLOCK):
        raise ConfigurationError(
            "AlreadyQuantized", f"{job.input} is quantized already ({found}). Quantize the base model."
        )


def _config(config: dict[str, Any], job: QuantizeJob, scheme: schemes.Scheme | None, selection: Selection) -> str:
    config.pop("quantization_config", None)
    if scheme is None:
        config.pop("torch_dtype", None)
        config["dtype"] = "bfloat16"
    else:
        config["quantization_config"] = scheme.config(job, selection.experts_only)
    return json.dumps(config, indent=2, sort_keys=True) + "\n"


def _write_weights(conversion: Conversion, ledger: Ledger, reporter: Reporter) -> None:
    shards, totals = conversion.base.shards, conversion.totals()
    left = [shard for shard in shards if shard.path.name not in ledger.hashes]
    finished = totals["before"] - sum(conversion.bytes(shard) for shard in left)

    def done(count: int) -> None:
        nonlocal finished
        finished += count
        reporter.update("quantizing", unit="bytes", done=finished, total=totals["before"])

    for shard in left:
        conversion.write(shard, ledger.files / shard.path.name, done)
        ledger.finish(shard.path.name)
    if len(shards) > 1:
        weight_map = {part: shard.path.name for shard in shards for part in conversion.entries(shard)}
        index = {"metadata": {"total_size": totals["after"]}, "weight_map": dict(sorted(weight_map.items()))}
        (ledger.files / safety.INDEX).write_text(json.dumps(index, indent=2) + "\n", "utf-8")


def _figures(job: QuantizeJob, conversion: Conversion, selection: Selection) -> Quantization:
    totals = conversion.totals()
    return Quantization(
        scheme=job.scheme,
        weight_bytes_before=totals["before"],
        weight_bytes_after=totals["after"],
        expert_bytes_before=totals["expert_before"],
        expert_bytes_after=totals["expert_after"],
        quantized_modules=len(selection.quantized),
        kept_modules=len(selection.kept),
    )
