"""What evaluation, tasks and benchmark found of an artifact."""

from pydantic import Field

from deepseek_operator.api.base import ApiModel, Figure, FineFigure


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
