"""Quantization from Python: what a quantize Job does, without a cluster and without a Job."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from pydantic.alias_generators import to_snake

from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.job.place import exclusive, place
from deepseek_runtime.job.reporter import Silent
from deepseek_runtime.quantize import model
from deepseek_runtime.weights import manifest, safety, seal
from deepseek_runtime.weights.load import load_config
from deepseek_runtime.wire.base import digest
from deepseek_runtime.wire.job import ALGORITHMS, Calibration, QuantizeJob
from deepseek_runtime.wire.paths import ARTIFACT, MANIFEST_FILE
from deepseek_runtime.wire.result import Calibration as CalibrationResult

METHODS: dict[str, dict[str, Any]] = {
    "weightOnly": {"scheme": "int8"},
    "dynamic": {"scheme": "int8", "method": "dynamic"},
    "static": {"scheme": "int8", "method": "static"},
    "roundToNearest": {"scheme": "int4"},
    "gptq": {"scheme": "int4", "method": "gptq"},
    "fp8": {"scheme": "fp8"},
    "fp8Block": {"scheme": "fp8Block"},
    "bf16": {"scheme": "bf16"},
}
"""What each quantization method is to a Job: int8 by three methods, int4 by two, and the data-free others."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """A sealed quantized model. `cached`: it was there already, made by an equal call."""

    path: Path
    digest: str
    weight_bytes_before: int
    weight_bytes_after: int
    expert_bytes_before: int
    expert_bytes_after: int
    quantized_modules: int
    kept_modules: int
    calibration: CalibrationResult | None
    cached: bool

    @property
    def ratio(self) -> float:
        """Bytes of the weights after, beside those before."""
        return self.weight_bytes_after / self.weight_bytes_before


class Quantizer:
    """Makes quantized copies of a model."""

    def __init__(self, model_path: str | PathLike[str]) -> None:
        self.model_path = Path(model_path)

    @classmethod
    def from_pretrained(cls, model_path: str | PathLike[str]) -> "Quantizer":
        """Of a model's directory: config.json, safetensors, tokenizer.

        Errors: as safety.check and load_config: whatever is no model that this runtime reads is refused here.
        """
        safety.check(Path(model_path))
        load_config(Path(model_path))
        return cls(model_path)

    def quantize(
        self,
        *,
        output_path: str | PathLike[str],
        quantization_method: str,
        model_path: str | PathLike[str] | None = None,
        calibration: Sequence[str | PathLike[str]] | None = None,
        samples: int = 128,
        sequence_length: int = 512,
        scope: Literal["all", "experts"] | None = None,
        group_size: int = 128,
        ignore: Sequence[str] = (),
    ) -> Quantized:
        """Write a quantized copy to `output_path`/artifact and seal it; what an equal call has made is found again.

        `model_path`: another model than the one this was made of. `calibration`: text files or directories of them, for
        `static` and `gptq`. A model without a manifest.json gets one, as the copy's provenance.
        Errors: the runtime's own, JobError and its kinds: `reason` is stable, `message` says what to do.
        """
        source = Path(self.model_path if model_path is None else model_path)
        safety.check(source)
        settings = self._settings(quantization_method, scope, group_size, ignore)
        try:
            if calibration is not None:
                text = tuple(str(path) for path in calibration)
                settings["calibration"] = Calibration(text=text, samples=samples, sequence_length=sequence_length)
            asked = QuantizeJob(identity="", owner="local", input=str(source), input_digest="", **settings)
        except ValidationError as error:
            raise _refusal(error) from error
        if not (source / MANIFEST_FILE).exists():
            manifest.write(source)
        recipe = asked.model_copy(update={"input_digest": manifest.read(source).digest})
        inputs = recipe.model_dump(mode="json", exclude={"identity", "owner", "input", "output", "credential", "pods"})
        identity = digest({"algorithm": ALGORITHMS[recipe.kind], **inputs})
        return _run(recipe.model_copy(update={"identity": identity, "output": str(output_path)}))

    @staticmethod
    def _settings(
        method: str, scope: Literal["all", "experts"] | None, group_size: int, ignore: Sequence[str]
    ) -> dict[str, Any]:
        if method not in METHODS:
            raise ConfigurationError(
                "InvalidConfig", f"quantization_method is {method!r}; it must be one of {', '.join(METHODS)}."
            )
        return {**METHODS[method], "scope": scope, "group_size": group_size, "ignore": tuple(ignore)}


def _refusal(error: ValidationError) -> ConfigurationError:
    """What is wrong with the first parameter that is, by its name here."""
    first = error.errors()[0]
    name, must = to_snake(str(first["loc"][0])), first["msg"].replace("Input should", "it must")
    return ConfigurationError("InvalidConfig", f"{name} is {first['input']!r}; {must}.")


def _run(job: QuantizeJob) -> Quantized:
    directory = place(job)
    with exclusive(directory):
        result = seal.sealed(directory, job.identity)
        if result is None:
            manifest.verify(Path(job.input), job.input_digest)
            result = model.run(job, Silent())
    artifact, figures = result.artifact, result.quantization
    if artifact is None or figures is None:
        raise ValueError(f"{directory} seals no quantized model")
    return Quantized(
        path=directory / ARTIFACT,
        digest=artifact.digest,
        weight_bytes_before=figures.weight_bytes_before,
        weight_bytes_after=figures.weight_bytes_after,
        expert_bytes_before=figures.expert_bytes_before,
        expert_bytes_after=figures.expert_bytes_after,
        quantized_modules=figures.quantized_modules,
        kept_modules=figures.kept_modules,
        calibration=figures.calibration,
        cached=result.cached,
    )
