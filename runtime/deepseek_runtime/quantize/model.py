"""A copy of a model in another stored form, written tensor by tensor, and file by file gone on with after a kill."""

import json
import os
import shutil
from collections.abc import Container
from pathlib import Path
from typing import Any

from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.job.place import place, pod_index
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.quantize import calibrated, calibration, declared, schemes, spread
from deepseek_runtime.quantize.gptq_layers import Gptq
from deepseek_runtime.quantize.ledger import Ledger, sha256
from deepseek_runtime.quantize.parts import BLOCKS
from deepseek_runtime.quantize.selection import Scope, Selection, select
from deepseek_runtime.quantize.shards import Conversion
from deepseek_runtime.quantize.static_scales import StaticScales
from deepseek_runtime.weights import facts, manifest, safety, seal
from deepseek_runtime.weights.load import load_config
from deepseek_runtime.weights.stored import StoredWeights
from deepseek_runtime.wire.job import Calibration, QuantizeJob
from deepseek_runtime.wire.paths import IMAGE_ENVIRONMENT
from deepseek_runtime.wire.result import Calibration as CalibrationResult
from deepseek_runtime.wire.result import JobResult, Quantization

_DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


def run(job: QuantizeJob, reporter: Reporter) -> JobResult:
    """Quantize a verified model and seal it.

    Errors: ConfigurationError `AlreadyQuantized` for a base that is quantized, but for DeepSeek's own fp8 blocks, which
    are dequantized on the way; as `select`, `Scheme.layout` and `Conversion.write`. Of several pods each writes the
    files of its part, and the first seals: as `spread.gather`.
    """
    source, index = Path(job.input), pod_index(job)
    shares = spread.spread(job) if job.pods > 1 else ()
    others = frozenset[str]().union(*shares) - shares[index] if shares else frozenset[str]()
    if shares:
        if index and not shares[index]:
            return _part(job)
        manifest.verify(source, job.input_digest, reporter, unread=others)
    config = safety.read_json(source / safety.CONFIG)
    _check_base(job, config)
    _check_calibration(job)
    scheme = schemes.scheme(job)
    dtype = "BF16" if scheme is None else _DTYPES.get(config.get("dtype") or config.get("torch_dtype") or "", "BF16")
    with Ledger(place(job), job.identity, index, others) as ledger, StoredWeights(source) as base:
        selection = Selection.nothing()
        if scheme is not None:
            selection = select(load_config(source), base, job.ignore, _scope(job, config))
        conversion = Conversion(base, scheme, selection, dtype)
        figures = _figures(job, conversion, selection)
        if scheme is not None and job.calibration is not None:
            found = _calibrate(job, job.calibration, scheme, conversion, ledger.files, reporter)
            figures = figures.model_copy(update={"calibration": found})
        else:
            _write_weights(conversion, ledger, others, reporter)
        if index:
            return _part(job)
        if shares:
            spread.gather(ledger, shares, conversion, reporter)
        _write_index(conversion, ledger.files)
        _copy_others(source, ledger.files)
        (ledger.files / safety.CONFIG).write_text(_config(config, job, scheme, selection), "utf-8")
        plain = {
            name: sha256(ledger.files / name) for name in manifest.walk(ledger.files).keys() - ledger.hashes.keys()
        }
        written = manifest.record(ledger.files, ledger.hashes | plain)
        result = JobResult(
            kind=job.kind,
            identity=job.identity,
            outcome="succeeded",
            artifact=facts.artifact(ledger.files, written),
            quantization=figures,
        )
        sealed = seal.seal(place(job), job.identity, result)
        ledger.remove()
    return sealed


def _part(job: QuantizeJob) -> JobResult:
    """Of a pod that seals nothing."""
    return JobResult(
        kind=job.kind,
        identity=job.identity,
        outcome="succeeded",
        image=os.environ.get(IMAGE_ENVIRONMENT),
        started_at=seal.STARTED,
        finished_at=seal.now(),
    )


def _copy_others(source: Path, directory: Path) -> None:
    """Neither signatures, which are of the base, nor weights: beside the copy's own, left-over ones could be taken."""
    written = (safety.INDEX, safety.CONFIG)
    for file in manifest.read(source).files:
        if file.path not in written and not file.path.endswith((".sig", ".safetensors")):
            (directory / file.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file.path, directory / file.path)


def _scope(job: QuantizeJob, config: dict[str, Any]) -> Scope:
    if job.scope is not None:
        return job.scope
    return "experts" if job.scheme == "int4" and config.get("n_routed_experts") else "all"


def _check_base(job: QuantizeJob, config: dict[str, Any]) -> None:
    found = declared.scheme(config)
    if found is not None and (found != BLOCKS or job.scheme == BLOCKS):
        raise ConfigurationError(
            "AlreadyQuantized", f"{job.input} is quantized already ({found}). Quantize the base model."
        )


def _check_calibration(job: QuantizeJob) -> None:
    needs = job.method in ("static", "gptq")
    if needs != (job.calibration is not None):
        what = "needs calibration" if needs else "takes no calibration"
        raise ConfigurationError("InvalidConfig", f"{job.scheme} by method {job.method or 'default'} {what}.")
    if needs and job.pods > 1:
        raise ConfigurationError(
            "InvalidConfig", f"The method {job.method} goes through the model in one pod; parallelism must be 1."
        )


def _config(config: dict[str, Any], job: QuantizeJob, scheme: schemes.Scheme | None, selection: Selection) -> str:
    config.pop("quantization_config", None)
    if scheme is None:
        config.pop("torch_dtype", None)
        config["dtype"] = "bfloat16"
    else:
        config["quantization_config"] = scheme.config(job, selection.experts_only)
    return json.dumps(config, indent=2, sort_keys=True) + "\n"


def _write_weights(conversion: Conversion, ledger: Ledger, others: Container[str], reporter: Reporter) -> None:
    shards = [shard for shard in conversion.base.shards if shard.path.name not in others]
    left = [shard for shard in shards if shard.path.name not in ledger.hashes]
    total = sum(map(conversion.bytes, shards))
    finished = total - sum(map(conversion.bytes, left))

    def done(count: int) -> None:
        nonlocal finished
        finished += count
        reporter.update("quantizing", unit="bytes", done=finished, total=total)

    for shard in left:
        conversion.write(shard, ledger.files / shard.path.name, done)
        ledger.finish(shard.path.name)


def _write_index(conversion: Conversion, directory: Path) -> None:
    shards = conversion.base.shards
    if [shard.path.name for shard in shards] != [safety.SINGLE]:
        weight_map = {part: shard.path.name for shard in shards for part in conversion.entries(shard)}
        index = {
            "metadata": {"total_size": conversion.totals()["after"]},
            "weight_map": dict(sorted(weight_map.items())),
        }
        (directory / safety.INDEX).write_text(json.dumps(index, indent=2) + "\n", "utf-8")


def _calibrate(
    job: QuantizeJob,
    settings: Calibration,
    scheme: schemes.Scheme,
    conversion: Conversion,
    directory: Path,
    reporter: Reporter,
) -> CalibrationResult:
    config = load_config(job.input)
    if settings.sequence_length > config.max_position_embeddings:
        raise ConfigurationError(
            "ContextTooLong",
            f"calibration.sequenceLength {settings.sequence_length} is beyond the model's "
            f"{config.max_position_embeddings}.",
        )
    sequences = calibration.read(Path(job.input), settings.text, settings.samples, settings.sequence_length)
    method: calibrated.Method = StaticScales(conversion.round)
    if job.method == "gptq":
        method = Gptq(conversion.round, scheme.levels)
    return calibrated.write(config, conversion, scheme, method, sequences, directory, reporter)


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
