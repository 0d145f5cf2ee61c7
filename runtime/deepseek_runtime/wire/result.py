"""What a Job leaves behind: sealed as `result.json` on the volume, and repeated as the pod's termination message."""

from typing import Literal

from deepseek_runtime.wire.attention import Attention
from deepseek_runtime.wire.base import VERSION, WireModel
from deepseek_runtime.wire.progress import Examples
from deepseek_runtime.wire.verification import Signed, Verified

MAX_BYTES = 4096
"""Kubernetes' limit of a termination message."""


class Architecture(WireModel):
    """What a scheduler of tensor-parallel engines must know of a model."""

    name: str  # DeepseekV3ForCausalLM, DeepseekV2ForCausalLM, LlamaForCausalLM
    parameters: int
    layers: int
    hidden_size: int
    attention_heads: int
    key_value_heads: int
    intermediate_size: int = 0  # of a dense layer; 0 in what older runtimes sealed
    routed_experts: int = 0
    moe_intermediate_size: int = 0
    vocab_size: int
    context_length: int
    attention: Attention | None = None  # not known, or sealed by an older runtime
    unsplit_bytes: int = 0  # that lie whole on every rank; 0: they follow from the other dimensions


class Refused(WireModel):
    """A model that this runtime does not compute, for what it takes where it is served."""

    name: str
    weight_bytes: int
    architecture: Architecture | None = None  # its size is not known


class Artifact(WireModel):
    """A sealed model: the digest of its manifest, its size and its architecture."""

    digest: str
    bytes: int
    weight_bytes: int = 0  # of the files that hold weights; 0 in what older runtimes sealed
    files: int
    dtype: str
    architecture: Architecture


class Calibration(WireModel):
    """What calibrated a quantization, and what it could not tell."""

    digest: str  # SHA-256 of the text
    sequences: int
    tokens: int
    experts_without_tokens: int = 0
    experts_with_few_tokens: int = 0  # those without among them: rounded or scaled by what is safe instead
    weights_rounded_to_nearest: int = 0  # of GPTQ, beside those experts: their Hessians could not be inverted
    largest_outlier: float = 0.0  # of static scales: a layer's largest input beside the mean of its tokens' largest


class Quantization(WireModel):
    """Bytes of the weights before and after, and of the routed experts among them."""

    scheme: str
    weight_bytes_before: int
    weight_bytes_after: int
    expert_bytes_before: int = 0
    expert_bytes_after: int = 0
    quantized_modules: int
    kept_modules: int
    calibration: Calibration | None = None


class ExportProof(WireModel):
    """The sealed file's answers in its own engine beside the model's, on the same tokens."""

    engine: str  # "onnxruntime 1.32.0"
    tokens: int
    kl_divergence: float  # KL(model || file), mean over tokens, in nats
    top1_agreement: float
    largest_difference: float  # of two logits, as a share of the model's largest


class Export(WireModel):
    """A model as one file of another engine's format."""

    format: str
    type: str
    file: str  # in the artifact's directory
    sha256: str  # of the file, for whoever copies it
    weight_bytes_before: int
    weight_bytes_after: int
    tensors: int
    unaligned_tensors: int = 0  # stored as f16 instead: their rows are no whole blocks of the type
    calibration: Calibration | None = None  # of onnx in int8
    proof: ExportProof | None = None  # of onnx


class Routing(WireModel):
    """Where a mixture-of-experts model sent the scored tokens; the whole table is `routing.json` beside the result."""

    layers: int  # that have routed experts
    experts: int  # in each
    max_to_mean: float  # tokens of the busiest expert by the mean of its layer, in the layer where that is highest
    mean_max_to_mean: float  # the same, as the mean over layers
    dead_experts: int  # over all layers: that got no token


class Scores(WireModel):
    """Perplexity for each token, and bits for each byte of the text, which no tokenizer can flatter."""

    perplexity: float
    bits_per_byte: float
    tokens: int
    bytes: int
    seconds: float
    routing: Routing | None = None  # of a mixture-of-experts model; older runtimes sealed none


class Comparison(WireModel):
    """A variant's predictions beside its base's, over all tokens of the text."""

    kl_divergence: float  # KL(base || variant), mean over tokens, in nats
    top1_agreement: float  # share of tokens for which both find the same token the likeliest
    tokens: int
    seconds: float


class LongContext(WireModel):
    """Perplexity of the same tokens after up to `tokens` of context, and after up to `short_tokens`."""

    tokens: int
    perplexity: float
    short_tokens: int
    short_perplexity: float
    ratio: float  # of the first to the second: below 1 the model uses what came long before
    scored: int
    seconds: float


class TaskMetric(WireModel):
    """A mean over the documents, and its standard error, which a single document does not have."""

    metric: str
    value: float
    standard_error: float | None = None


class TaskScores(WireModel):
    """What a task in lm-evaluation-harness' format found."""

    documents: int
    few_shot: int
    metrics: tuple[TaskMetric, ...]
    seconds: float


class Benchmark(WireModel):
    """The builtin engine with this model, and the conditions that it was measured under; figures are medians."""

    output_tokens_per_second: float  # of all requests together, their prompts' time included
    slowest: float  # round, in the same unit
    fastest: float
    time_to_first_token_ms: float
    memory_bytes: int  # most that was resident of the process: weights, cache, libraries
    gpu_memory_bytes: int | None = None
    prompt_tokens: int
    output_tokens: int
    concurrency: int
    processor: str
    threads: int
    dtype: str
    torch: str  # its version


class Training(WireModel):
    """How a stage ended."""

    steps: int
    tokens: int
    loss: float
    seconds: float  # of training, over all pods
    tokens_per_second: float
    resumed_from_step: int = 0
    examples: Examples | None = None


class Fetched(WireModel):
    """What came from outside, and what was left there."""

    commit: str  # of a hub; of other sources a digest of what they had
    files: int
    bytes: int
    left_out: tuple[str, ...] = ()  # the first of them
    left_out_files: int = 0


class Dataset(WireModel):
    """Sealed text: the digest of its manifest, and its size."""

    digest: str
    bytes: int
    files: int


class JobResult(WireModel):
    """`succeeded` with facts, or `failed` with a reason in CamelCase and a message that says what to do."""

    version: int = VERSION
    kind: str
    identity: str
    outcome: Literal["succeeded", "failed"]
    reason: str | None = None
    message: str | None = None
    artifact: Artifact | None = None
    refused: Refused | None = None  # beside the reason UnknownArchitecture
    dataset: Dataset | None = None
    quantization: Quantization | None = None
    export: Export | None = None
    scores: Scores | None = None
    comparison: Comparison | None = None
    long_context: LongContext | None = None
    task: TaskScores | None = None
    benchmark: Benchmark | None = None
    training: Training | None = None
    fetched: Fetched | None = None
    verification: Verified | None = None
    signature: Signed | None = None
    image: str | None = None
    started_at: str | None = None  # RFC 3339, UTC
    finished_at: str | None = None
    cached: bool = False  # the sealed result of an earlier Job was found: nothing was computed


def encode(result: JobResult) -> str:
    """At most MAX_BYTES of JSON: a message that would not fit is cut, never the facts."""
    text = result.to_json()
    excess = len(text.encode()) - MAX_BYTES
    if excess <= 0 or result.message is None:
        return text
    kept = result.message.encode()[: -(excess + 16)].decode(errors="ignore") + " …"
    return encode(result.model_copy(update={"message": kept})) if kept != result.message else text


def decode(text: str) -> JobResult | None:
    """The result in a termination message, or None where the text is something else (a log's tail, say)."""
    try:
        return JobResult.model_validate_json(text)
    except ValueError:
        return None
