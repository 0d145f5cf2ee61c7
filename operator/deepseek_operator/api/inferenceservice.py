"""InferenceService: a model offered to people."""

from typing import Literal

from pydantic import ConfigDict, Field

from deepseek_operator.api.base import ApiModel, CommonStatus, Name, PodSettings, ShortName, rules


class ModelReference(ApiModel):
    """A DeepSeekModel of this namespace."""

    name: Name = Field(description="The DeepSeekModel.")
    variant: ShortName | None = Field(default=None, description="One of its variants. Absent: the base.")


class ParallelismSpec(ApiModel):
    """How the weights are split."""

    tensor: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Processes in one pod that share every layer; it must divide the attention heads.",
    )


class EngineSpec(ApiModel):
    """The builtin engine: continuous batching over a paged cache."""

    context_length: int | None = Field(
        default=None, ge=16, description="Longest prompt and answer together, in tokens. Absent: the model's own."
    )
    max_sequences: int = Field(default=32, ge=1, le=1024, description="Requests in one batch; more wait.")
    cache_tokens: int = Field(
        default=32768, ge=256, le=2**31 - 1, description="Tokens that the cache holds for all requests together."
    )


class InferenceServiceSpec(ApiModel):
    """What is wanted."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.engine.contextLength) || self.engine.contextLength <= self.engine.cacheTokens",
                "engine.contextLength must not exceed engine.cacheTokens",
            ),
        )
    )
    model: ModelReference = Field(description="What answers.")
    replicas: int = Field(default=1, ge=0, le=1000, description="Pods; `kubectl scale` sets it.")
    parallelism: ParallelismSpec = Field(default=ParallelismSpec(), description="How the weights are split.")
    engine: EngineSpec = Field(default=EngineSpec(), description="How requests share a pod.")
    pods: PodSettings = Field(default=PodSettings(), description="The serving pods.")


class ServedModel(ApiModel):
    """What the pods answer with."""

    model: str = Field(description="The DeepSeekModel.")
    variant: str | None = Field(default=None, description="Its variant; absent for the base.")
    digest: str = Field(description="SHA-256 of the manifest; engines check it at load.")
    claim: str | None = Field(default=None, description="The volume that they read it from.")


class InferenceServiceStatus(CommonStatus):
    """What is."""

    phase: Literal["Pending", "Starting", "Ready", "RollingOut", "ScaledToZero", "Failed", "Terminating"] | None = (
        Field(default=None, description="One word for people; programs read the conditions.")
    )
    replicas: int = Field(default=0, description="Pods there are.")
    ready_replicas: int = Field(default=0, description="Pods that can generate a token.")
    selector: str | None = Field(default=None, description="Of the pods, for autoscalers.")
    serving: ServedModel | None = Field(default=None, description="What the pods answer with.")
    url: str | None = Field(default=None, description="The gateway's URL for OpenAI clients.")
    model_id: str | None = Field(default=None, description="The `model` to ask for at the gateway.")
