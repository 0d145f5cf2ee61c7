"""The price sheet: what GPUs and CPUs cost, by the hour or owned. A value of the chart, and what the operator reads.

Money is decimal in what people write and an integer of millionths (micros) in what is computed; it is never a float.
"""

from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

MICROS = 1_000_000
HOURS_PER_MONTH = 730
"""A year has 8,760 hours."""

Money = Annotated[str, Field(max_length=20, pattern=r"^[0-9]{1,12}(\.[0-9]{1,6})?$")] | Annotated[int, Field(ge=0)]
"""Decimal, as a string where it has a fraction: 2.50 without quotes would be a binary float already."""


class SheetModel(BaseModel):
    """A part of the sheet. What it does not know is refused: it would be a typing error without effect."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid", frozen=True)


class OnPremises(SheetModel):
    """A GPU that is owned, with its share of the machine around it."""

    capital: Money = Field(description="What it cost.")
    lifetime_months: int = Field(ge=1, le=240, description="Months until it is written off.")
    utilisation_percent: int = Field(ge=1, le=100, description="Of all hours, those that it works.")
    power_kilowatts: Money = Field(default=0, description="What it draws while it works, cooling included.")
    price_per_kilowatt_hour: Money = Field(default=0, description="Of electricity.")
    instead_of: str | None = Field(
        default=None,
        max_length=40,
        description="The row with an hourly price that the break-even month is told against.",
    )

    @property
    def hourly_micros(self) -> int:
        """One hour of work: its share of the capital, and electricity."""
        hours = Fraction(self.lifetime_months * HOURS_PER_MONTH * self.utilisation_percent, 100)
        return round(Fraction(micros(self.capital)) / hours + self._power_micros)

    def break_even_month(self, hourly_micros: int) -> int | None:
        """The first month in which owning has cost no more than an hourly price for the same work; None: no month has."""
        saved = (hourly_micros - self._power_micros) * HOURS_PER_MONTH * Fraction(self.utilisation_percent, 100)
        return max(1, -(-micros(self.capital) // saved)) if saved > 0 else None

    @property
    def _power_micros(self) -> Fraction:
        return Fraction(str(self.power_kilowatts)) * micros(self.price_per_kilowatt_hour)


class GpuPrice(SheetModel):
    """One kind of GPU: its memory, how pods ask for it, and exactly one of `hourly` and `onPremises`."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["hourly"]}, {"required": ["onPremises"]}]})
    name: str = Field(min_length=1, max_length=40, description="As the status shows it.")
    memory_gib: int = Field(alias="memoryGiB", ge=1, le=4096, description="What a process can use of it, in GiB.")
    per_node: int = Field(default=8, ge=1, le=64, description="GPUs in one machine: a model is split within one.")
    resource_name: str = Field(
        default="nvidia.com/gpu", min_length=1, max_length=253, description="The resource that pods ask for."
    )
    node_labels: dict[str, Annotated[str, Field(max_length=63)]] = Field(
        default={},
        max_length=8,
        description="What the nodeSelector of pods says that run on it. Needed where several rows have the same resourceName: a pod that matches no row, or several, counts hours and no money.",
    )
    hourly: Money | None = Field(default=None, description="The price of an hour, its share of the machine included.")
    on_premises: OnPremises | None = Field(default=None, description="It is owned.")

    @model_validator(mode="after")
    def _one_price(self) -> Self:
        if (self.hourly is None) == (self.on_premises is None):
            raise ValueError(f"GPU {self.name}: exactly one of hourly and onPremises must be given")
        return self

    @property
    def hourly_micros(self) -> int:
        """The price of one hour."""
        return self.on_premises.hourly_micros if self.on_premises is not None else micros(self.hourly or 0)


class PriceSheet(SheetModel):
    """What resources cost. Costs that are in a status keep the sheet they were computed with."""

    name: str = Field(min_length=1, max_length=63, pattern=r"^[\w.-]*$", description="Shown beside every cost.")
    version: str = Field(min_length=1, max_length=63, pattern=r"^[\w.-]*$", description="Raise it with every change.")
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$", description="ISO 4217.")
    cpu_core_hourly: Money | None = Field(
        default=None, description="One CPU for an hour, of pods without GPUs. Absent: they count hours and no money."
    )
    reserve_percent: int = Field(
        default=10, ge=0, le=90, description="Of a GPU's memory, what is kept free of weights and cache."
    )
    gpus: list[GpuPrice] = Field(default=[], max_length=16, description="One row for each kind of GPU.")

    @model_validator(mode="after")
    def _rows_agree(self) -> Self:
        hourly = {row.name for row in self.gpus if row.hourly is not None}
        if len({row.name for row in self.gpus}) < len(self.gpus):
            raise ValueError("two GPUs have the same name")
        for row in self.gpus:
            other = row.on_premises.instead_of if row.on_premises is not None else None
            if other is not None and other not in hourly:
                raise ValueError(
                    f"GPU {row.name}: onPremises.insteadOf names {other}, which is no row with an hourly price"
                )
        return self

    @property
    def cpu_core_hourly_micros(self) -> int | None:
        """The price of one CPU for an hour."""
        return micros(self.cpu_core_hourly) if self.cpu_core_hourly is not None else None

    def break_even_month(self, row: GpuPrice) -> int | None:
        """Of an owned GPU against the row that it names; None where there is none, or none comes within its lifetime."""
        owned = row.on_premises
        if owned is None or owned.instead_of is None:
            return None
        rented = next(other for other in self.gpus if other.name == owned.instead_of)
        month = owned.break_even_month(rented.hourly_micros)
        return month if month is not None and month <= owned.lifetime_months else None


def micros(money: Money) -> int:
    """Millionths of the currency's unit, exactly."""
    return int(Decimal(money) * MICROS)


EXAMPLE = PriceSheet(
    name="example",
    version="1",
    cpu_core_hourly="0.05",
    gpus=[
        GpuPrice(name="l4", memory_gib=22, hourly=1, node_labels={"nvidia.com/gpu.product": "NVIDIA-L4"}),
        GpuPrice(name="h100", memory_gib=78, hourly=3, node_labels={"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}),
        GpuPrice(name="h200", memory_gib=139, hourly=4, node_labels={"nvidia.com/gpu.product": "NVIDIA-H200"}),
        GpuPrice(
            name="h200-owned",
            memory_gib=139,
            node_labels={"example.com/owner": "us"},
            on_premises=OnPremises(
                capital=40_000,
                lifetime_months=48,
                utilisation_percent=50,
                power_kilowatts=1,
                price_per_kilowatt_hour="0.20",
                instead_of="h200",
            ),
        ),
    ],
)
"""Round figures that are nobody's prices, to be replaced."""
