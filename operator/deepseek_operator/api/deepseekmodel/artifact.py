"""`status.artifacts`: each sealed artifact, and where the base came from."""

from typing import Literal

from pydantic import Field

from deepseek_operator.api.base import ApiModel, Figure
from deepseek_operator.api.deepseekmodel.export import ExportStatus
from deepseek_operator.api.deepseekmodel.gate import GateStatus
from deepseek_operator.api.deepseekmodel.measurements import (
    BenchmarkStatus,
    LongContextStatus,
    ScoresStatus,
    TaskStatus,
)
from deepseek_operator.api.deepseekmodel.quantization import QuantizationStatus
from deepseek_operator.api.deepseekmodel.signing import SignatureStatus


class ArtifactStatus(ApiModel):
    """One sealed artifact: the base or a variant."""

    name: str = Field(description="`base`, or the variant's name.")
    phase: Literal["Working", "Ready", "Failed"] = Field(description="Where it stands; Ready is sealed.")
    identity: str = Field(description="Of the work that makes it: its inputs, recipe and algorithm.")
    claim: str = Field(description="The PersistentVolumeClaim that holds it.")
    revision: str | None = Field(
        default=None,
        description="What its source was then: the hub's commit, the manifest's digest, a digest of what a store or server had, or of what was copied from a claim.",
    )
    digest: str | None = Field(default=None, description="SHA-256 of its manifest.")
    bytes: int | None = Field(default=None, description="Size of its files.")
    weight_bytes: int | None = Field(default=None, description="Size of those of them that hold weights.")
    dtype: str | None = Field(default=None, description="Of its weights.")
    quantization: QuantizationStatus | None = Field(
        default=None, description="Bytes before and after, of all weights and of the experts."
    )
    export: ExportStatus | None = Field(default=None, description="Of an export: its format and its file.")
    scores: ScoresStatus | None = Field(default=None, description="What the evaluation found.")
    evaluation_identity: str | None = Field(default=None, description="Of the evaluation that found it.")
    comparison_identity: str | None = Field(
        default=None, description="Of the comparison with the base that found klDivergence and top1Agreement."
    )
    long_context: LongContextStatus | None = Field(
        default=None, description="Perplexity after a long context and after a short one."
    )
    long_context_identity: str | None = Field(default=None, description="Of the measurement that found it.")
    tasks: list[TaskStatus] | None = Field(
        default=None,
        max_length=8,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="What the tasks of lm-evaluation-harness found.",
    )
    benchmark: BenchmarkStatus | None = Field(
        default=None,
        description="Speed and memory in the builtin engine, with the conditions they were measured under.",
    )
    benchmark_identity: str | None = Field(default=None, description="Of the benchmark that found them.")
    gate: GateStatus | None = Field(default=None, description="Whether a variant with a gate may be served.")
    signature: SignatureStatus | None = Field(default=None, description="Who signed it, where it is signed.")
    image: str | None = Field(default=None, description="The image that made it: provenance, not identity.")
    seconds: Figure | None = Field(default=None, description="How long its Job took.")


class Lineage(ApiModel):
    """Where the base came from."""

    source: str = Field(
        description="existingClaim/<claim>/<path>, http/<url>, huggingFace/<repo>, objectStore/<url>, oci/<reference>, scratch/<architecture> or trainingRun/<name>/<stage>."
    )
    digest: str | None = Field(
        default=None, description="Of the source's manifest where it has one, or of what was copied from a claim."
    )
