"""DeepSeekModel: weights, their proof, their variants."""

from typing import Annotated, Any, Literal

from deepseek_runtime.wire.verification import Allowed
from pydantic import ConfigDict, Field

from deepseek_operator.api.base import (
    ApiModel,
    CommonStatus,
    DataSource,
    Figure,
    FineFigure,
    Name,
    PodSettings,
    ShortName,
    Storage,
    SubPath,
    rules,
)
from deepseek_operator.api.cost import CostStatus
from deepseek_operator.api.fit import SizingStatus
from deepseek_operator.api.remote_sources import HttpSource, ObjectStoreSource, OciSource

ArchitectureName = Literal["DeepSeekV3", "DeepSeekV2", "Llama"]


class TokenizerSpec(ApiModel):
    """A byte-level BPE tokenizer, trained on text of yours."""

    vocab_size: int = Field(
        default=4096, ge=320, le=262144, description="Tokens, the 256 bytes and special tokens among them."
    )
    text: list[DataSource] = Field(min_length=1, max_length=16, description="The text it is trained on.")


class ScratchSource(ApiModel):
    """A new model with random weights."""

    architecture: ArchitectureName = Field(
        description="The family: DeepSeekV3, DeepSeekV2 (both with latent attention and experts) or Llama."
    )
    config: dict[str, Any] = Field(
        default={},
        max_length=64,
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
        description="Keys of the architecture's config.json, for example hidden_size and n_routed_experts; a key that the architecture lacks is refused. vocab_size comes from the tokenizer.",
    )
    tokenizer: TokenizerSpec = Field(description="How text becomes tokens.")
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Of the random weights.")


class SecretKey(ApiModel):
    """One key of a Secret of this namespace."""

    name: str = Field(
        min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", description="The Secret."
    )
    key: str = Field(
        default="token", min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$", description="The key in its data."
    )


FilePattern = Annotated[str, Field(min_length=1, max_length=253)]


class HuggingFaceSource(ApiModel):
    """A repository of models on a hub. It is fetched once: the commit that the revision means is kept in the status."""

    repo: str = Field(
        max_length=200,
        pattern=r"^[A-Za-z0-9][-._A-Za-z0-9]*/[A-Za-z0-9][-._A-Za-z0-9]*$",
        description="For example deepseek-ai/DeepSeek-V2-Lite.",
    )
    revision: str = Field(
        default="main",
        min_length=1,
        max_length=255,
        pattern=r"^[A-Za-z0-9][-._/+A-Za-z0-9]*$",
        description="A branch, tag or commit. A branch that moves later changes nothing; name another revision to fetch it anew.",
    )
    endpoint: str = Field(
        default="https://huggingface.co",
        max_length=253,
        pattern=r"^https?://[A-Za-z0-9][-.A-Za-z0-9]*(:[0-9]{1,5})?(/[-._~/A-Za-z0-9]*)?$",
        description="The hub, or a mirror that speaks its protocol. Private addresses need the chart's value fetch.allowedNetworks.",
    )
    token_secret_ref: SecretKey | None = Field(
        default=None,
        description="The access token, for private and gated repositories. It is mounted into the fetch pod and goes to the endpoint alone.",
    )
    include: list[FilePattern] = Field(
        default=[],
        max_length=32,
        description="Shell patterns of files to fetch. Absent: weights in safetensors, configuration, tokenizer and chat template. Pickles and code are refused.",
    )
    exclude: list[FilePattern] = Field(
        default=[], max_length=32, description="Shell patterns of files that are left out, whatever include says."
    )


class TrainingRunSource(ApiModel):
    """The export of a TrainingRun of this namespace."""

    name: Name = Field(description="The TrainingRun.")
    stage: ShortName | None = Field(default=None, description="One of its stages. Absent: the last.")


class ExistingClaimSource(ApiModel):
    """A model that lies on a PersistentVolumeClaim of this namespace. It is copied once and never changed."""

    claim_name: str = Field(
        min_length=1,
        max_length=253,
        description="The PersistentVolumeClaim, mounted read-only by the pod that copies.",
    )
    path: SubPath | None = Field(
        default=None,
        description="The folder of the model: config.json, safetensors, tokenizer; other files are left there. Absent: the root. What was copied stays as it is, so put other weights at another path.",
    )


class ModelSource(ApiModel):
    """Where the weights come from: exactly one of the fields."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "[has(self.existingClaim), has(self.http), has(self.huggingFace), has(self.objectStore), has(self.oci), has(self.scratch), has(self.trainingRun)].filter(given, given).size() == 1",
                "exactly one of existingClaim, http, huggingFace, objectStore, oci, scratch and trainingRun must be given",
            )
        )
    )
    existing_claim: ExistingClaimSource | None = Field(default=None, description="Weights that lie on a volume.")
    http: HttpSource | None = Field(default=None, description="Files behind URLs, or an archive, with their SHA-256.")
    hugging_face: HuggingFaceSource | None = Field(default=None, description="A repository of a hub.")
    object_store: ObjectStoreSource | None = Field(
        default=None,
        description="Objects below a prefix in S3, Google Cloud Storage, Azure Blob Storage or what speaks their protocols.",
    )
    oci: OciSource | None = Field(default=None, description="An artifact or image of a registry.")
    scratch: ScratchSource | None = Field(default=None, description="A new model with random weights.")
    training_run: TrainingRunSource | None = Field(
        default=None,
        description="What a TrainingRun made. Once it is copied, the model needs the run no more; the volume of a deleted run stays until the ended publish Job is deleted, too.",
    )

    @property
    def remote(self) -> bool:
        """Whether the weights come from outside of the cluster."""
        return any(source is not None for source in (self.hugging_face, self.object_store, self.http, self.oci))


class CalibrationSpec(ApiModel):
    """Text that shows a calibrated quantization what the weights are multiplied with. Take what the model is used for.

    The model goes through it layer by layer: memory is that of one decoder layer and of samples x sequenceLength hidden
    states in float32, on a GPU in the model's own dtype.
    """

    text: list[DataSource] = Field(
        min_length=1,
        max_length=16,
        description="Its SHA-256 is in the Job's result; a text changed later changes nothing.",
    )
    samples: int = Field(
        default=128,
        ge=1,
        le=8192,
        description="Sequences, spread evenly over the text; fewer where it has fewer.",
    )
    sequence_length: int = Field(
        default=512, ge=16, le=131072, description="Tokens of each, at most the model's context length."
    )


class QuantizationSpec(ApiModel):
    """How a variant's weights are stored. Embeddings, norms, routers, biases and the output layer always stay."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.method) || (self.scheme == 'int8' && self.method in ['weightOnly', 'dynamic', 'static']) || (self.scheme == 'int4' && self.method in ['roundToNearest', 'gptq'])",
                "method can be weightOnly, dynamic or static with int8, roundToNearest or gptq with int4, and nothing with other schemes",
            ),
            (
                "(has(self.method) && self.method in ['static', 'gptq']) == has(self.calibration)",
                "the methods static and gptq need calibration, and no other takes it",
            ),
            (
                "!has(self.parallelism) || self.parallelism == 1 || !has(self.calibration)",
                "parallelism is for methods without calibration: static and gptq go through the model in one pod",
            ),
            ("!has(self.groupSize) || self.scheme == 'int4'", "groupSize is for int4 only"),
            (
                "self.scheme in ['int8', 'int4', 'fp8'] || !has(self.scope) && self.ignore.size() == 0",
                "fp8Block and bf16 are of all weights: they have neither scope nor ignore",
            ),
        )
    )
    scheme: Literal["int8", "int4", "fp8", "fp8Block", "bf16"] = Field(
        description="int8: linear layers and experts, symmetric, one scale for each output channel. int4: experts (of a dense model all linear layers), symmetric, one scale for each groupSize inputs. fp8: e4m3 for linear layers and experts, one scale for each output channel, activations by engines that can. fp8Block: DeepSeek's own format, e4m3 in blocks of 128 x 128, for linear layers and experts. bf16: nothing is quantized; fp8Block is dequantized, float32 rounded. The builtin engine multiplies int8 as it is on CPUs that multiply bytes, of dynamic and static with activations rounded as they say, of weightOnly with activations of 16 bits; all else is computed with the dequantized weights. Evaluation computes with these, with activations rounded where the method has it so."
    )
    method: Literal["weightOnly", "dynamic", "static", "roundToNearest", "gptq"] | None = Field(
        default=None,
        description="Of int8: weightOnly; dynamic, whose activations engines that can do it quantize, each token by its own scale (W8A8); static, by one scale for each layer's inputs that calibration finds (W8A8). Of int4: roundToNearest; gptq, which makes up for what rounding loses on the calibration's text. Absent: weightOnly or roundToNearest.",
    )
    scope: Literal["all", "experts"] | None = Field(
        default=None,
        description="experts: routed experts alone. Absent: experts for int4 of a model that has them, all otherwise.",
    )
    group_size: Literal[32, 64, 128] | None = Field(
        default=None,
        description="Inputs that share a scale, of int4; it must divide every quantized layer's inputs. Absent: 128.",
    )
    ignore: list[Annotated[str, Field(min_length=1, max_length=253)]] = Field(
        default=[],
        max_length=32,
        description="Shell patterns of module names that stay as they are, for example model.layers.0.*.",
    )
    calibration: CalibrationSpec | None = Field(
        default=None, description="What static and gptq look at; both need it, the other methods take none."
    )
    parallelism: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Pods that share the weight files, of any method without calibration. Each has the resources of spec.jobs, and one that is lost costs its own part. With volumes that are ReadWriteOnce all run on one node; to spread them over several, storage.accessModes must be [ReadWriteMany]. It changes how fast a variant is made and not what it is: a variant that is there is not made again.",
    )


class GateSpec(ApiModel):
    """What a variant must show before it is served: at least one limit."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.maxPerplexityIncrease) || has(self.maxKlDivergence) || has(self.minTop1Agreement)",
                "a gate needs at least one of maxPerplexityIncrease, maxKlDivergence and minTop1Agreement",
            )
        )
    )
    max_perplexity_increase: float | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="How much higher than the base's its perplexity may be, as a share of it: 0.02 is 2 %. Compared to four decimals.",
    )
    max_kl_divergence: float | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="The most that KL(base || variant) may be, in nats for each token. Compared to six decimals.",
    )
    min_top1_agreement: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of tokens for which base and variant must find the same token the likeliest: 0.98 is 98 %. Compared to four decimals.",
    )
    action: Literal["Block", "Warn"] = Field(
        default="Block",
        description="What follows when a limit is missed. Block: the variant is not served. Warn: it is served, and the condition GatesPassed says what it missed. Neither serves what is not measured yet.",
    )


class GgufSpec(ApiModel):
    """One file for llama.cpp and what is built on it, with tokenizer and chat template in it.

    It is written in one pass and in bands of rows, so memory does not grow with the model; a Job that is killed begins
    again. A model whose tokenizer, positions or experts llama.cpp would treat otherwise is refused (UnsupportedExport).
    """

    type: Literal["f16", "q8_0", "q4_0"] = Field(
        description="f16: all matrices in float16. q8_0: in 8 bits, blocks of 32 inputs share a scale. q4_0: in 4 bits, the same way; embeddings and output layer q8_0. Routers and vectors are float32 in all, and matrices whose inputs are no multiple of 32 are float16."
    )


class ExportSpec(ApiModel):
    """A form for engines that run elsewhere, on a desk or at the edge: the builtin engine does not serve it."""

    gguf: GgufSpec = Field(description="A GGUF file, `artifact/model.gguf` on the variant's claim.")


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


class LongContextSpec(ApiModel):
    """Windows of the text, its files one after the other; the second half of each is scored."""

    tokens: int = Field(
        ge=32,
        le=1048576,
        description="Of one window: at least twice contextLength, and no more than the model's context or the text.",
    )
    windows: int = Field(default=4, ge=1, le=256, description="How many, at most; as many as the text holds.")


class TaskSpec(ApiModel):
    """A task in the file format of lm-evaluation-harness, with documents beside it. Nothing in it is run as code."""

    name: ShortName = Field(description="What the status calls it.")
    source: DataSource = Field(
        description="The folder that holds the task file and the JSON lines that its dataset_kwargs.data_files name: a claim's path, or a ConfigMap without key. What changes there later changes nothing; to measure again, name another place."
    )
    file: str = Field(
        default="task.yaml",
        max_length=253,
        pattern=r"^[A-Za-z0-9][-._A-Za-z0-9]*\.ya?ml$",
        description="The task file in it: output_type multiple_choice, loglikelihood or generate_until, metrics acc, acc_norm or exact_match. A key that is not honoured is refused by its name, and so is code.",
    )
    limit: int | None = Field(default=None, ge=1, description="The first so many documents. Absent: all.")
    few_shot: int | None = Field(
        default=None, ge=0, le=64, description="Examples before each question. Absent: the file's num_fewshot."
    )


class BenchmarkSpec(ApiModel):
    """What the builtin engine is asked for: random prompts, all at once, answers of exactly this length."""

    prompt_tokens: int = Field(default=128, ge=1, le=131072, description="Tokens of each prompt.")
    output_tokens: int = Field(default=64, ge=2, le=131072, description="Tokens of each answer.")
    concurrency: int = Field(default=1, ge=1, le=64, description="Requests at once.")


class EvaluationSpec(ApiModel):
    """Perplexity of the base and of every quantized variant on text that training has not seen."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.longContext) || self.longContext.tokens >= 2 * self.contextLength",
                "longContext.tokens must be at least twice contextLength",
            )
        )
    )
    text: list[DataSource] = Field(min_length=1, max_length=16, description="The held-out text.")
    context_length: int = Field(default=256, ge=16, le=131072, description="Tokens in one window.")
    max_tokens: int | None = Field(
        default=None, ge=64, description="Stop after so many tokens. Absent: all of the text."
    )
    compare: bool = Field(
        default=False,
        description="Also how far every variant's predictions are from the base's: KL divergence and top-1 agreement, by a Job that reads both. A gate with maxKlDivergence or minTop1Agreement asks for it by itself.",
    )
    long_context: LongContextSpec | None = Field(
        default=None,
        description="Whether base and variants use a long context: perplexity of the same tokens after much text and after contextLength tokens. maxTokens does not apply.",
    )
    tasks: list[TaskSpec] = Field(
        default=[],
        max_length=8,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            **rules(
                (
                    "self.all(task, !has(task.source.configMap) || !has(task.source.configMap.key))",
                    "the source of a task is a folder: a ConfigMap is named without key",
                )
            ),
        },
        description="Tasks of lm-evaluation-harness, each measured of the base and of every variant by a Job of its own.",
    )
    benchmark: BenchmarkSpec | None = Field(
        default=None,
        description="Speed and memory of the builtin engine with the base and with every variant, one after the other once all else is measured, in pods of spec.jobs. It is measured once: change a field to have it measured again.",
    )


Sha256 = Annotated[str, Field(min_length=64, max_length=64, pattern=r"^[0-9a-f]{64}$")]


class FileDigestSpec(ApiModel):
    """A file of the base."""

    path: Annotated[str, Field(min_length=1, max_length=512)] = Field(
        description="Its path in the model's folder, for example model.safetensors."
    )
    sha256: Sha256 = Field(description="The SHA-256 that it must have.")


class SignatureSpec(ApiModel):
    """A signature by OpenSSF Model Signing v1, made with a key: `python -m model_signing sign key`."""

    public_key: str = Field(
        min_length=64,
        max_length=1024,
        pattern=r"^-----BEGIN PUBLIC KEY-----\r?\n[A-Za-z0-9+/=\r\n]+-----END PUBLIC KEY-----\s*$",
        description="The signer's public key in PEM, of the curve P-256, P-384 or P-521.",
    )
    file: str = Field(
        default="model.sig",
        max_length=253,
        pattern=r"^[A-Za-z0-9][-._A-Za-z0-9]*\.sig$",
        description="The signature among the model's files. It must cover all others of the base, and what it covers must be there unless the source leaves it out.",
    )


class VerificationSpec(ApiModel):
    """What the base must prove. Nothing of a source from outside is sealed before it does."""

    digest: Sha256 | None = Field(
        default=None,
        description="The SHA-256 of its manifest, as status.digest of another DeepSeekModel with the same files has it.",
    )
    files: list[FileDigestSpec] = Field(
        default=[],
        max_length=256,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["path"]},
        description="Files that must be there, each with this content.",
    )
    signature: SignatureSpec | None = Field(default=None, description="Who must have signed it.")
    allow: list[Allowed] = Field(
        default=[],
        max_length=2,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="What is taken that is refused otherwise; it is not run for that. AutoMap: configuration that names Python code. UnsafeTemplate: a chat template that reaches for Python's internals or takes too long; the model may be served without chat.",
    )


class SigningKey(ApiModel):
    """One key of a Secret of this namespace: a private key without a password, in PEM."""

    name: str = Field(
        min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", description="The Secret."
    )
    key: str = Field(
        default="key.pem",
        min_length=1,
        max_length=253,
        pattern=r"^[-._a-zA-Z0-9]+$",
        description="The key in its data, of the curve P-256, P-384 or P-521.",
    )


class SigningSpec(ApiModel):
    """Signs what is made here: every variant, and a base that is new or published by a TrainingRun."""

    key_secret_ref: SigningKey = Field(
        description="The key. It is mounted into the Job that signs, and nowhere else. To sign with another key, name another Secret or another key of it."
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
                "!(has(self.source.scratch) || has(self.source.trainingRun)) || !has(self.verification) || (!has(self.verification.signature) && (!has(self.verification.allow) || self.verification.allow.size() == 0))",
                "a model that is made here has no signature and nothing to allow; verify its digest or files",
            ),
            (
                "!has(self.signing) || self.variants.size() > 0 || has(self.source.scratch) || has(self.source.trainingRun)",
                "signing signs what is made here, and this model has no variants",
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
    jobs: PodSettings = Field(default=PodSettings(), description="The pods of this model's Jobs.")


class AttentionStatus(ApiModel):
    """What attention keeps of each token; a dimension that its kind lacks is 0."""

    kind: str = Field(description="latent, indexedLatent, compressed or groupedQuery.")
    kv_lora_rank: int = Field(default=0, description="Width of the latent of keys and values.")
    q_lora_rank: int = Field(default=0, description="Width of the latent of queries.")
    qk_rope_head_dim: int = Field(default=0, description="Width of the rotated key that all heads share.")
    index_head_dim: int = Field(default=0, description="Width of the key of the indexer of sparse attention.")
    head_dim: int = Field(default=0, description="Width of one head's key, and of its value.")
    sliding_window: int = Field(default=0, description="Tokens that every layer keeps, of compressed attention.")
    sliding_layers: int = Field(default=0, description="Layers that keep nothing beside the window.")
    sparse_layers: int = Field(default=0, description="Layers that keep one entry of each sparseRate tokens, too.")
    sparse_rate: int = Field(default=0, description="Tokens that an entry of a sparse layer stands for.")
    heavy_layers: int = Field(default=0, description="Layers that keep one entry of each heavyRate tokens, too.")
    heavy_rate: int = Field(default=0, description="Tokens that an entry of a heavy layer stands for.")
    output_groups: int = Field(default=0, description="Groups of heads; tensor parallelism must divide them.")


class ArchitectureStatus(ApiModel):
    """What the weights are."""

    name: str = Field(description="The class in config.json.")
    parameters: int = Field(description="How many numbers they hold.")
    layers: int = Field(description="Decoder layers.")
    hidden_size: int = Field(description="Width of the residual stream.")
    attention_heads: int = Field(description="Tensor parallelism must divide it.")
    key_value_heads: int = Field(
        description="Heads of keys and values; as many as attention heads with latent attention."
    )
    intermediate_size: int = Field(default=0, description="Width of a dense layer; 0 where it is not known.")
    routed_experts: int = Field(default=0, description="In each expert layer; 0 for a dense model.")
    moe_intermediate_size: int = Field(default=0, description="Width of one expert.")
    vocab_size: int = Field(description="Tokens of the vocabulary.")
    context_length: int = Field(description="Longest context in tokens.")
    attention: AttentionStatus | None = Field(
        default=None, description="What the size of a cache follows from. Absent: not known."
    )
    unsplit_bytes: int = Field(
        default=0,
        description="Of the weights, what lies whole on every tensor-parallel rank. 0: it follows from the others.",
    )


class RoutingStatus(ApiModel):
    """Which experts the text's tokens went to."""

    layers: int = Field(description="Layers with routed experts.")
    experts: int = Field(description="Routed experts in each.")
    max_to_mean: Figure = Field(
        description="Tokens of the busiest expert by the mean of its layer, where that is highest: 1 is perfect balance, the number of experts by those of a token the worst."
    )
    mean_max_to_mean: Figure = Field(description="The same, as the mean over the layers.")
    dead_experts: int = Field(description="Experts of all layers that got no token of the text.")


class ScoresStatus(ApiModel):
    """Measured on the evaluation's text."""

    perplexity: Figure = Field(description="For each token.")
    bits_per_byte: Figure = Field(
        description="Bits for each byte of text, to be compared across tokenizers and with compressors."
    )
    tokens: int = Field(description="Tokens scored.")
    routing: RoutingStatus | None = Field(
        default=None,
        description="Of a mixture-of-experts model; that of the base is before, that of a variant after. The tokens of every expert are in evaluations/<evaluationIdentity>/routing.json on the artifact's volume. Evaluations of older versions have none.",
    )
    kl_divergence: FineFigure | None = Field(
        default=None,
        description="Of a variant that is compared: KL(base || variant) in nats, mean over the tokens; 0 is the same.",
    )
    top1_agreement: Figure | None = Field(
        default=None,
        description="Of a variant that is compared: share of tokens for which base and variant find the same token the likeliest.",
    )


class LongContextStatus(ApiModel):
    """The same tokens, after much text and after little."""

    tokens: int = Field(description="Of the long context, at most; half of them at least.")
    perplexity: Figure = Field(description="After the long context.")
    short_tokens: int = Field(description="Of the short context, at most.")
    short_perplexity: Figure = Field(description="After the short context.")
    ratio: Figure = Field(
        description="Of the first to the second: below 1 the model uses what came long before, above it is confused."
    )
    scored: int = Field(description="Tokens scored.")


class TaskMetricStatus(ApiModel):
    """One metric of a task."""

    metric: str = Field(description="acc, acc_norm or exact_match.")
    value: Figure = Field(description="The mean over the documents.")
    standard_error: Figure | None = Field(default=None, description="Of the mean. Absent: of a single document.")


class TaskStatus(ApiModel):
    """What a task found."""

    name: str = Field(description="The task.")
    identity: str = Field(description="Of the measurement that found it.")
    documents: int = Field(description="How many were scored.")
    few_shot: int = Field(default=0, description="Examples before each question.")
    metrics: list[TaskMetricStatus] = Field(
        max_length=4,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["metric"]},
        description="Its figures.",
    )


class BenchmarkStatus(ApiModel):
    """The builtin engine with this artifact, in a pod of spec.jobs."""

    output_tokens_per_second: Figure = Field(
        description="Of all answers together, the time of their prompts included; the median of three rounds."
    )
    slowest: Figure = Field(description="Of the rounds, in the same unit.")
    fastest: Figure = Field(description="Of the rounds, in the same unit.")
    time_to_first_token_ms: Figure = Field(description="From the request; the median of all requests.")
    memory_bytes: int = Field(description="Most that was resident of the process: weights, cache, libraries.")
    gpu_memory_bytes: int | None = Field(default=None, description="Most that was allocated on the GPU.")
    prompt_tokens: int = Field(description="Of each request.")
    output_tokens: int = Field(description="Of each request.")
    concurrency: int = Field(description="Requests at once.")
    processor: str = Field(description="The CPU's name, or the GPU's.")
    threads: int = Field(description="Of the process.")
    dtype: str = Field(description="That the engine computes in.")
    torch: str = Field(description="Its version.")
    image: str | None = Field(default=None, description="The engine's.")


class CalibrationStatus(ApiModel):
    """What calibrated a quantization, and what it could not tell."""

    digest: str = Field(description="SHA-256 of the text.")
    sequences: int = Field(description="How many it gave.")
    tokens: int = Field(description="In all of them.")
    experts_without_tokens: int = Field(default=0, description="Over all layers.")
    experts_with_few_tokens: int = Field(
        default=0,
        description="Those without among them. static gives them the widest range of their layer's experts, gptq rounds them to nearest.",
    )
    weights_rounded_to_nearest: int = Field(
        default=0, description="Beside those experts: weights that gptq could not do better for."
    )
    largest_outlier: Figure = Field(
        default=0.0,
        description="Of static: how far a layer's largest input lies beyond the mean of its tokens' largest; so much of int8's range is spent on it.",
    )


class QuantizationStatus(ApiModel):
    """What the quantization did."""

    scheme: str = Field(description="How the weights are stored.")
    weight_bytes_before: int = Field(description="Bytes of all weights in the base.")
    weight_bytes_after: int = Field(description="Bytes of all weights in the variant.")
    expert_bytes_before: int = Field(default=0, description="Bytes of the routed experts in the base.")
    expert_bytes_after: int = Field(default=0, description="Bytes of the routed experts in the variant.")
    calibration: CalibrationStatus | None = Field(default=None, description="What calibrated it.")


class ExportStatus(ApiModel):
    """What the export wrote."""

    format: str = Field(description="gguf.")
    type: str = Field(description="How most numbers are stored.")
    file: str = Field(description="In `artifact` on the claim.")
    sha256: str = Field(description="Of the file: `sha256sum` of a copy gives the same.")
    weight_bytes_before: int = Field(description="Bytes of all weights in the base.")
    weight_bytes_after: int = Field(description="Bytes of all weights in the file.")
    tensors: int = Field(description="In the file.")
    unaligned_tensors: int = Field(
        default=0, description="Of them those that stayed float16, for their inputs are no whole blocks of the type."
    )


class GateStatus(ApiModel):
    """What a variant's gate says."""

    phase: Literal["Pending", "Passed", "Warned", "Blocked"] = Field(
        description="Pending until base and variant are measured. One that misses a limit is Blocked and not served, or Warned and served, by the gate's action."
    )
    perplexity_increase: Figure | None = Field(
        default=None, description="Its perplexity beside the base's: 0.02 is 2 % higher, negative is lower."
    )
    limit: float | None = Field(default=None, description="The gate's maxPerplexityIncrease.")
    missed: list[str] | None = Field(
        default=None, max_length=3, description="Each limit that was missed, and by how much."
    )


class SignatureStatus(ApiModel):
    """The signature of an artifact. `python -m model_signing verify key` proves it with the public key."""

    identity: str = Field(description="Of the signing: the artifact, how it was made, and which key was named.")
    path: str = Field(
        description="On the artifact's claim, where `artifact` is what is signed; the provenance is in it, and signed alone beside it."
    )
    signer: str = Field(
        description="The key: SHA-256 of its SubjectPublicKeyInfo, as `openssl pkey -pubin -outform DER | sha256sum` gives it."
    )


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


class VerificationStatus(ApiModel):
    """What the base has proven."""

    identity: str = Field(description="Of the verification: what was asked, and of which base.")
    digest: str = Field(description="SHA-256 of the manifest that was verified.")
    files: int = Field(default=0, description="Files whose digests were given, and are these.")
    signer: str | None = Field(
        default=None,
        description="The key that signed it: SHA-256 of its SubjectPublicKeyInfo, as `openssl pkey -pubin -outform DER | sha256sum` gives it.",
    )
    signed_name: str | None = Field(default=None, description="What the signer called the model.")


class Lineage(ApiModel):
    """Where the base came from."""

    source: str = Field(
        description="existingClaim/<claim>/<path>, http/<url>, huggingFace/<repo>, objectStore/<url>, oci/<reference>, scratch/<architecture> or trainingRun/<name>/<stage>."
    )
    digest: str | None = Field(
        default=None, description="Of the source's manifest where it has one, or of what was copied from a claim."
    )


class NextStatus(ApiModel):
    """A base of another source, made beside the one that is there until it and its variants have proven themselves."""

    digest: str | None = Field(default=None, description="SHA-256 of its manifest, once it is sealed.")
    revision: str | None = Field(default=None, description="What its source was then.")
    size: str | None = Field(default=None, description="Of its files, for people.")
    architecture: ArchitectureStatus | None = Field(default=None, description="What its weights are.")
    artifacts: list[ArtifactStatus] = Field(
        default=[],
        max_length=17,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="The base, then every variant as far as they have come.",
    )
    lineage: Lineage | None = Field(default=None, description="Where it came from.")
    verification: VerificationStatus | None = Field(default=None, description="What it has proven.")


class DeepSeekModelStatus(CommonStatus):
    """What is."""

    phase: (
        Literal[
            "Pending",
            "Building",
            "Fetching",
            "Importing",
            "Publishing",
            "Verifying",
            "Quantizing",
            "Exporting",
            "Signing",
            "Evaluating",
            "Updating",
            "Ready",
            "Blocked",
            "Failed",
            "Terminating",
        ]
        | None
    ) = Field(
        default=None,
        description="One word for people; programs read the conditions. Blocked: by a gate. Updating: what is there stays Ready while what replaces it is made.",
    )
    digest: str | None = Field(default=None, description="SHA-256 of the base's manifest.")
    revision: str | None = Field(
        default=None,
        description="What the source of the base was then: the hub's commit, the manifest's digest, a digest of what a store or server had, or of what was copied from a claim.",
    )
    size: str | None = Field(default=None, description="Of the base's files, for people.")
    architecture: ArchitectureStatus | None = Field(default=None, description="What the weights are.")
    artifacts: list[ArtifactStatus] = Field(
        default=[],
        max_length=17,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="The base, then every variant.",
    )
    lineage: Lineage | None = Field(default=None, description="Where the base came from.")
    verification: VerificationStatus | None = Field(
        default=None, description="What the base has proven of spec.verification; absent until it has proven all of it."
    )
    sizing: SizingStatus | None = Field(
        default=None,
        description="What the base and the sealed quantized variants take, and on which GPUs of the price sheet each fits.",
    )
    cost: CostStatus | None = Field(default=None, description="What the Jobs of this model have used and cost.")
    next: NextStatus | None = Field(
        default=None,
        description="What replaces the base after its source has changed. All other fields speak of what is there, the conditions besides Ready of both.",
    )
