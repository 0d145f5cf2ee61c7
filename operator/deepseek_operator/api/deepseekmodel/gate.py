"""What a variant must show before it is served, and what it showed."""

from typing import Literal

from pydantic import ConfigDict, Field

from deepseek_operator.api.base import ApiModel, Figure, rules


class GateSpec(ApiModel):
    """What a variant must show before it is served: at least one limit."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.maxPerplexityIncrease) || has(self.maxKlDivergence) || has(self.minTop1Agreement) || has(self.maxTaskScoreDecrease)",
                "a gate needs at least one of maxPerplexityIncrease, maxKlDivergence, minTop1Agreement and maxTaskScoreDecrease",
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
    max_task_score_decrease: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="How much lower than the base's its score may be in every one of evaluation.tasks, by the first metric of each: 0.02 is 2 points of 100. Compared to four decimals.",
    )
    action: Literal["Block", "Warn"] = Field(
        default="Block",
        description="What follows when a limit is missed. Block: the variant is not served. Warn: it is served, and the condition GatesPassed says what it missed. Neither serves what is not measured yet.",
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
        default=None,
        max_length=11,
        description="Each limit that was missed, of tasks in each of them, and by how much.",
    )
