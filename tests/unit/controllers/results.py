"""What the runtime's Jobs leave when they go well."""

from typing import Any

from deepseek_runtime.wire.attention import Attention
from deepseek_runtime.wire.base import digest
from deepseek_runtime.wire.job import (
    BenchmarkJob,
    Beside,
    BuildJob,
    CompareJob,
    DatasetJob,
    EvaluateJob,
    ExportJob,
    FetchJob,
    ImportJob,
    Job,
    LongContextJob,
    QuantizeJob,
    SignJob,
    TaskJob,
    TrainJob,
    VerifyJob,
)
from deepseek_runtime.wire.result import (
    Architecture,
    Artifact,
    Benchmark,
    Calibration,
    Dataset,
    Export,
    ExportProof,
    Fetched,
    JobResult,
    LongContext,
    Quantization,
    Routing,
    Scores,
    TaskMetric,
    TaskScores,
    Training,
)
from deepseek_runtime.wire.verification import Signed, Verification, Verified

BENCHMARK = Benchmark(
    output_tokens_per_second=40.0,
    slowest=39.0,
    fastest=41.0,
    time_to_first_token_ms=120.5,
    memory_bytes=500_000_000,
    prompt_tokens=128,
    output_tokens=64,
    concurrency=1,
    processor="A CPU",
    threads=2,
    dtype="float32",
    torch="2.13.0",
)
LONG_CONTEXT = LongContext(
    tokens=1024, perplexity=18.0, short_tokens=256, short_perplexity=20.0, ratio=0.9, scored=2048, seconds=1.0
)
TASK = TaskScores(
    documents=50,
    few_shot=2,
    metrics=(TaskMetric(metric="acc", value=0.54, standard_error=0.0711), TaskMetric(metric="acc_norm", value=0.6)),
    seconds=1.0,
)
ROUTING = Routing(layers=1, experts=4, max_to_mean=1.25, mean_max_to_mean=1.25, dead_experts=0)
TINY_V3 = Architecture(
    name="DeepseekV3ForCausalLM",
    parameters=200_000,
    layers=2,
    hidden_size=64,
    attention_heads=4,
    key_value_heads=4,
    intermediate_size=128,
    routed_experts=4,
    moe_intermediate_size=64,
    vocab_size=512,
    context_length=256,
    attention=Attention(kind="latent", kv_lora_rank=32, q_lora_rank=32, qk_rope_head_dim=16),
)


TINY_LLAMA = TINY_V3.model_copy(
    update={
        "name": "LlamaForCausalLM",
        "routed_experts": 0,
        "moe_intermediate_size": 0,
        "attention": Attention(kind="groupedQuery", head_dim=16),
    }
)
ANSWERED = ExportProof(
    engine="onnxruntime 1.32.0", tokens=1024, kl_divergence=0.004, top1_agreement=0.97, largest_difference=0.02
)
EXPORTED = Export(
    format="gguf",
    type="q8_0",
    file="model.gguf",
    sha256="8" * 64,
    weight_bytes_before=100,
    weight_bytes_after=27,
    tensors=40,
)


def result_of(config: Job, image: str = "", perplexity: float = 20.5) -> JobResult:
    """The result of a Job that went well; equal work gives equal bytes."""
    result = JobResult(
        kind=config.kind,
        identity=config.identity,
        outcome="succeeded",
        image=image,
        started_at="2026-01-01T00:00:00Z",
        finished_at="2026-01-01T00:00:07Z",
    )
    if isinstance(config, DatasetJob):
        text = Dataset(digest=digest(["sealed", config.identity]), bytes=4_000, files=2)
        fetched = Fetched(commit="d" * 40, files=2, bytes=4_000)
        return result.model_copy(update={"dataset": text, "fetched": fetched})
    if isinstance(config, Beside):
        return result.model_copy(update=_measured(config, perplexity))
    source = (
        config.identity
        if isinstance(config, BuildJob | FetchJob | ImportJob | TrainJob | QuantizeJob | ExportJob)
        else config.input_digest
    )
    artifact = Artifact(
        digest=digest(["sealed", source]),
        bytes=900_000,
        weight_bytes=800_000,
        files=5,
        dtype="float32",
        architecture=TINY_LLAMA if _dense(config) else TINY_V3,
    )
    facts: dict[str, Any] = {"artifact": artifact, "export": _exported(config)}
    if isinstance(config, FetchJob):
        facts["fetched"] = Fetched(commit="c" * 40, files=5, bytes=900_000)
    if isinstance(config, FetchJob | ImportJob) and config.verification is not None:
        facts["verification"] = _proven(config.verification, artifact.digest)
    if isinstance(config, QuantizeJob):
        facts["quantization"] = Quantization(
            scheme="int8", weight_bytes_before=100, weight_bytes_after=40, quantized_modules=9, kept_modules=3
        )
    if isinstance(config, TrainJob):
        facts["training"] = Training(
            steps=config.steps or 30, tokens=1, loss=2.5, seconds=60.0, tokens_per_second=900.0
        )
    return result.model_copy(update=facts)


def _dense(config: Job) -> bool:
    """A model from scratch says so; of what is made of a model the operator does not look at the architecture."""
    return isinstance(config, BuildJob) and config.architecture == "Llama"


def _exported(config: Job) -> Export | None:
    if not isinstance(config, ExportJob) or config.format == "gguf":
        return EXPORTED if isinstance(config, ExportJob) else None
    calibration = Calibration(digest="7" * 64, sequences=128, tokens=65_536) if config.calibration else None
    told = {"format": "onnx", "type": config.type, "file": "model.onnx", "calibration": calibration, "proof": ANSWERED}
    return EXPORTED.model_copy(update=told)


def _measured(config: Beside, perplexity: float) -> dict[str, object]:
    """What a Job that reads a sealed model leaves beside it."""
    scores = Scores(perplexity=perplexity, bits_per_byte=1.5, tokens=900, bytes=4000, seconds=1.0, routing=ROUTING)
    match config:
        case SignJob():
            return {"signature": Signed(signer="6" * 64, files=5)}
        case VerifyJob():
            return {"verification": _proven(config.verification, config.input_digest)}
        case EvaluateJob():
            return {"scores": scores}
        case CompareJob():
            return {}
        case LongContextJob():
            return {"long_context": LONG_CONTEXT}
        case TaskJob():
            return {"task": TASK}
        case BenchmarkJob():
            return {"benchmark": BENCHMARK}


def _proven(asked: Verification, digest: str) -> Verified:
    signed = asked.signature is not None
    return Verified(
        asked=asked.identity,
        digest=digest,
        files=len(asked.files),
        signer="5" * 64 if signed else None,
        signed_name="tiny" if signed else None,
    )
