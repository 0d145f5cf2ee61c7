"""`spec` of a DeepSeekModel: what is wanted."""

from pydantic import ConfigDict, Field

from deepseek_operator.api.base import ApiModel, PodSettings, ShortName, Storage, rules
from deepseek_operator.api.deepseekmodel.cache import CacheSpec
from deepseek_operator.api.deepseekmodel.evaluation import EvaluationSpec
from deepseek_operator.api.deepseekmodel.export import ExportSpec
from deepseek_operator.api.deepseekmodel.gate import GateSpec
from deepseek_operator.api.deepseekmodel.quantization import QuantizationSpec
from deepseek_operator.api.deepseekmodel.signing import SigningSpec
from deepseek_operator.api.deepseekmodel.source import ModelSource
from deepseek_operator.api.deepseekmodel.verification import VerificationSpec


class VariantSpec(ApiModel):
    """One form of the model, quantized or exported, in a volume of its own."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.quantization) != has(self.export)",
                "a variant has either quantization, to be served, or export, for engines elsewhere",
            ),
            (
                "!has(self.export) || !has(self.gate)",
                "an export has no gate: it is neither measured nor served here",
            ),
        )
    )
    name: ShortName = Field(description="What services call it. `base` is taken by the unquantized weights.")
    quantization: QuantizationSpec | None = Field(
        default=None, description="How it is made, to be measured and served here."
    )
    export: ExportSpec | None = Field(
        default=None, description="How it is made, for engines elsewhere: no service runs on it, nothing is measured."
    )
    gate: GateSpec | None = Field(
        default=None,
        description="No service begins to serve a variant that misses its gate or is not measured yet; what a service serves already goes on. It needs evaluation, and changing it computes nothing again.",
    )


class DeepSeekModelSpec(ApiModel):
    """What is wanted."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.evaluation) || !self.variants.exists(variant, has(variant.gate))",
                "a variant with a gate needs evaluation",
            ),
            (
                "(has(self.evaluation) && has(self.evaluation.tasks) && self.evaluation.tasks.size() > 0) || !self.variants.exists(variant, has(variant.gate) && has(variant.gate.maxTaskScoreDecrease))",
                "a gate with maxTaskScoreDecrease needs evaluation.tasks",
            ),
            (
                "!(has(self.source.scratch) || has(self.source.trainingRun)) || !has(self.verification) || (!has(self.verification.signature) && (!has(self.verification.allow) || self.verification.allow.size() == 0))",
                "a model that is made here has no signature and nothing to allow; verify its digest or files",
            ),
            (
                "!has(self.signing) || self.variants.size() > 0 || has(self.source.scratch) || has(self.source.trainingRun)",
                "signing signs what is made here, and this model has no variants",
            ),
            (
                "!has(self.source.scratch) || self.source.scratch.architecture == 'Llama' || !self.variants.exists(variant, has(variant.export) && has(variant.export.onnx))",
                "export.onnx is for dense models, Llama: take export.gguf for a mixture of experts",
            ),
            (
                "!has(self.cache) || 'ReadWriteMany' in self.storage.accessModes",
                "cache copies each volume to several nodes: storage.accessModes must have ReadWriteMany",
            ),
            (
                "!has(self.cache) || self.cache.artifacts.all(name, name == 'base' || self.variants.exists(variant, variant.name == name && has(variant.quantization)))",
                "cache.artifacts must name base or quantized variants of this model",
            ),
        )
    )
    source: ModelSource = Field(description="Where the weights come from.")
    verification: VerificationSpec | None = Field(
        default=None,
        description="What the base must prove before anything is made of it, trained on it or begins to be served with it. Changing it fetches nothing again: what is sealed is verified anew.",
    )
    signing: SigningSpec | None = Field(
        default=None,
        description="Signs what is made here with its provenance, in the form of OpenSSF Model Signing v1. Changing it makes nothing again.",
    )
    storage: Storage = Field(default=Storage(), description="The volumes; one for the base and one for each variant.")
    variants: list[VariantSpec] = Field(
        default=[],
        max_length=16,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            **rules(("self.all(variant, variant.name != 'base')", "the name base is taken by the unquantized weights")),
        },
        description="Quantized and exported forms, each made by a Job.",
    )
    evaluation: EvaluationSpec | None = Field(
        default=None, description="What is measured of the base and of every quantized variant."
    )
    cache: CacheSpec | None = Field(
        default=None,
        description="Keeps copies of base and quantized variants on the nodes that serve them. Nothing waits for a copy: a service reads its node's if that is whole, else the artifact's own volume.",
    )
    jobs: PodSettings = Field(
        default=PodSettings(),
        description="The pods of this model's Jobs. A change reaches the next Job, and one that is stuck; one that is at work keeps what it has.",
    )
