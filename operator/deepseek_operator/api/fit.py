"""`status.sizing` of a DeepSeekModel: what its artifacts take, and where they fit."""

from typing import Literal

from pydantic import Field

from deepseek_operator.api.base import ApiModel


class PriceSheetStatus(ApiModel):
    """The price sheet that figures were computed with."""

    name: str = Field(description="Its name.")
    version: str = Field(description="Its version.")


class GpuFit(ApiModel):
    """One artifact on one kind of GPU: a degree and a context, or the problem."""

    name: str = Field(description="The row of the price sheet.")
    tensor_parallel: int | None = Field(
        default=None,
        description="The smallest parallelism.tensor at which weights and a context of 2048 tokens fit, or the model's own where that is shorter.",
    )
    longest_context: int | None = Field(
        default=None, description="Tokens of one sequence that the cache holds there, at most the model's own context."
    )
    hourly_micros: int | None = Field(
        default=None, description="Price of an hour of all these GPUs, in millionths of the currency's unit."
    )
    break_even_month: int | None = Field(
        default=None,
        description="Of an owned GPU: the month in which it has cost no more than the rented one that the sheet compares it with. Absent: not within its lifetime.",
    )
    problem: str | None = Field(default=None, description="Why it does not fit.")


class ArtifactSizing(ApiModel):
    """What one sealed artifact takes, or a model that the runtime refused for its architecture takes elsewhere."""

    name: str = Field(description="`base`, or the variant's name.")
    weight_bytes: int = Field(description="Of its weights, as they are stored.")
    kv_bytes_per_token: int = Field(description="Of the cache, in bfloat16, for each token of each sequence.")
    kv_bytes_per_sequence: int = Field(
        default=0, description="Of the cache, at most, for each sequence beside its tokens: sliding windows."
    )
    gpus: list[GpuFit] = Field(
        default=[],
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="Every kind of GPU of the price sheet.",
    )


class SizingStatus(ApiModel):
    """Computed from architecture, sizes and price sheet; an estimate for GPUs, with a reserve."""

    reason: Literal["SizingUnknown"] | None = Field(default=None, description="Present where nothing can be said.")
    message: str | None = Field(default=None, max_length=1024, description="Why, and what to do.")
    price_sheet: PriceSheetStatus | None = Field(default=None, description="Whose GPUs and prices these are.")
    currency: str | None = Field(default=None, description="Of hourlyMicros.")
    reserve_percent: int | None = Field(
        default=None, description="Of a GPU's memory, what is kept free of weights and cache."
    )
    artifacts: list[ArtifactSizing] = Field(
        default=[],
        max_length=17,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="The base, then every variant that is sealed.",
    )
