"""`status.cost`: what pods have used, and what that costs by the price sheet of its time. All numbers are integers."""

from typing import Annotated

from pydantic import Field

from deepseek_operator.api.base import ApiModel
from deepseek_operator.api.fit import PriceSheetStatus

MAX_JOBS = 96
MAX_PODS = 64


class JobCost(ApiModel):
    """The pods of one Job that have ended, from their start to their end; failed ones are among them."""

    job: str = Field(description="The Job.")
    work: str = Field(description="What it did, for example quantize.")
    subject: str = Field(description="`base`, or the variant's name.")
    identity: str = Field(description="The first digits of the identity of its work.")
    pods: list[Annotated[str, Field(max_length=253)]] = Field(
        max_length=MAX_PODS,
        description="Those that are counted; `sealed` stands for one that only its result tells of.",
    )
    started_at: str = Field(description="When the first of them began, RFC 3339.")
    finished_at: str = Field(description="When the last of them ended.")
    gpu: str | None = Field(default=None, description="The row of the price sheet, where there is one for its GPUs.")
    gpu_microhours: int = Field(description="GPUs × time, in millionths of an hour.")
    cpu_microhours: int = Field(description="CPUs × time, in millionths of an hour.")
    micros: int | None = Field(
        default=None,
        description="What that costs, in millionths of the currency's unit. With GPUs their price alone. Absent: the price sheet has no price for it.",
    )
    currency: str = Field(default="", description="ISO 4217; empty where there is no price sheet.")
    price_sheet: PriceSheetStatus | None = Field(default=None, description="The price sheet of that time.")


class CostTotal(ApiModel):
    """A sum of costs in one currency."""

    currency: str = Field(description="ISO 4217; empty where there was no price sheet.")
    micros: int = Field(description="Millionths of the currency's unit.")
    gpu_microhours: int = Field(description="GPUs × time, in millionths of an hour.")
    cpu_microhours: int = Field(description="CPUs × time, in millionths of an hour.")
    unpriced: int = Field(default=0, description="Entries that count hours and no money.")


class CostStatus(ApiModel):
    """It is kept when Jobs and pods are deleted, and a later price sheet changes nothing that is in it."""

    summary: str = Field(description="The totals, for people.")
    totals: list[CostTotal] = Field(max_length=8, description="Of all Jobs there ever were, by currency.")
    jobs: list[JobCost] = Field(max_length=MAX_JOBS, description="The newest of them, in the order of their ends.")
    earlier: list[CostTotal] = Field(
        default=[], max_length=8, description="Of those that are not listed any more, by currency."
    )
