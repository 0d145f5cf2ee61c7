"""Every pod that ends counts once, at the price of its time, whatever is deleted, seen twice or seen late."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from deepseek_operator.api.cost import MAX_JOBS, CostStatus
from deepseek_operator.api.names import MODEL, Label
from deepseek_operator.api.price_sheet import EXAMPLE, GpuPrice, OnPremises, PriceSheet
from deepseek_operator.controllers.conditions import timestamp
from deepseek_operator.controllers.cost import accrued
from deepseek_operator.controllers.decision import Object, Observed, Ref
from deepseek_runtime.wire.result import JobResult, encode
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.unit.controllers.builders import scratch
from tests.unit.controllers.world import SETTINGS, World

START = datetime(2026, 1, 1, tzinfo=UTC)
ONE_KIND = PriceSheet(name="s", version="1", cpu_core_hourly="0.05", gpus=[GpuPrice(name="g", memory_gib=80, hourly=3)])


def pod(
    job: str, number: int = 0, *, seconds: int = 3600, begin: int = 0, message: str = "", **requests: str
) -> Object:
    labels = {
        "batch.kubernetes.io/job-name": job,
        Label.WORK: "quantize",
        Label.SUBJECT: "int8",
        Label.IDENTITY: "0123456789abcdef",
    }
    ended = {"exitCode": 0, "finishedAt": timestamp(START + timedelta(seconds=begin + seconds)), "message": message}
    return {
        "kind": "Pod",
        "metadata": {"name": f"{job}-{number:05}", "labels": labels},
        "spec": {"containers": [{"resources": {"requests": requests or {"cpu": "2"}}}], "nodeSelector": {}},
        "status": {
            "startTime": timestamp(START + timedelta(seconds=begin)),
            "containerStatuses": [{"state": {"terminated": ended}}],
        },
    }


def cost(*pods: Object, previous: CostStatus | None = None, sheet: PriceSheet | None = ONE_KIND) -> CostStatus:
    found = accrued(previous, Observed(pods=pods), sheet)
    assert found is not None
    return found


def test_gpus_are_priced_by_their_row_and_cpus_by_the_core() -> None:
    gpus = cost(pod("train-0", seconds=1800, cpu="8", **{"nvidia.com/gpu": "4"})).jobs[0]
    assert (gpus.gpu, gpus.gpu_microhours, gpus.cpu_microhours, gpus.micros) == ("g", 2_000_000, 4_000_000, 6_000_000)
    cpus = cost(pod("quantize-0", cpu="250m"))
    assert (cpus.jobs[0].gpu_microhours, cpus.jobs[0].cpu_microhours, cpus.jobs[0].micros) == (0, 250_000, 12_500)
    assert cpus.summary == "0.0125 USD, 0.25 CPU-hours"


def test_nothing_ended_is_no_cost() -> None:
    running = pod("a-0")
    running["status"]["containerStatuses"] = [{"state": {"running": {}}}]
    assert accrued(None, Observed(pods=(running,)), ONE_KIND) is None


@pytest.mark.parametrize(
    ("selector", "gpu"), [({}, None), ({"nvidia.com/gpu.product": "NVIDIA-H200"}, "h200"), ({"zone": "a"}, None)]
)
def test_which_of_several_gpus_is_told_by_the_node_selector(selector: dict[str, str], gpu: str | None) -> None:
    found = pod("a-0", **{"nvidia.com/gpu": "1"})
    found["spec"]["nodeSelector"] = selector
    entry = cost(found, sheet=EXAMPLE)
    assert (entry.jobs[0].gpu, entry.jobs[0].micros is None) == (gpu, gpu is None)
    assert entry.totals[0].gpu_microhours == 1_000_000
    assert entry.totals[0].unpriced == (gpu is None)


def test_another_sheet_prices_what_ends_later_and_nothing_of_before() -> None:
    dearer = PriceSheet(name="s", version="2", currency="EUR", cpu_core_hourly=1)
    before = cost(pod("a-0"))
    after = cost(pod("a-0"), pod("a-0", 1), pod("b-0"), previous=before, sheet=dearer)
    assert after.jobs[0] == before.jobs[0]
    assert [(entry.job, entry.micros, entry.price_sheet and entry.price_sheet.version) for entry in after.jobs] == [
        ("a-0", 100_000, "1"),
        ("a-0", 2_000_000, "2"),
        ("b-0", 2_000_000, "2"),
    ]
    assert [(total.currency, total.micros) for total in after.totals] == [("EUR", 4_000_000), ("USD", 100_000)]
    assert cost(previous=after, sheet=None) == after


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(1, 99_999)), min_size=1, max_size=30),
    st.data(),
)
def test_every_pod_counts_once_in_whatever_order_and_however_often_it_is_seen(
    drawn: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    pods = {f"{job}-{number}": pod(f"job-{job}", number, seconds=seconds) for job, number, seconds in drawn}
    status: CostStatus | None = None
    for _ in range(3):
        seen = data.draw(st.lists(st.sampled_from(sorted(pods)), unique=True))
        status = accrued(status, Observed(pods=tuple(pods[name] for name in seen)), ONE_KIND)
    whole = cost(*pods.values(), previous=status)
    assert cost(*pods.values(), previous=whole) == whole
    parts = [cost(each).jobs[0] for each in pods.values()]
    assert whole.totals[0].micros == sum(part.micros or 0 for part in parts)
    assert whole.totals[0].cpu_microhours == sum(part.cpu_microhours for part in parts)
    assert sum(len(entry.pods) for entry in whole.jobs) == len(pods)


def test_the_list_is_bounded_and_the_totals_are_not() -> None:
    status: CostStatus | None = None
    for number in range(MAX_JOBS + 30):
        status = cost(pod(f"job-{number}", begin=number), previous=status)
    assert status is not None
    assert len(status.jobs) == MAX_JOBS
    assert status.totals[0].micros == (MAX_JOBS + 30) * 100_000
    assert status.earlier[0].micros == 30 * 100_000


def test_what_is_still_seen_is_never_counted_twice_for_want_of_room() -> None:
    pods = [pod(f"job-{number}", begin=number) for number in range(MAX_JOBS + 5)]
    full = cost(*pods)
    assert cost(*pods, previous=full) == full
    assert full.totals[0].micros == MAX_JOBS * 100_000
    assert cost(*pods[5:], previous=full).totals[0].micros == (MAX_JOBS + 5) * 100_000


FOUND = JobResult(
    kind="quantize",
    identity="0123456789abcdef",
    outcome="succeeded",
    cached=True,
    started_at="2025-01-01T00:00:00Z",
    finished_at="2025-01-01T10:00:00Z",
)
"""What a pod says that found what an earlier one had sealed."""


def test_a_lost_status_is_put_right_by_what_is_sealed() -> None:
    found = pod("q-1", message=encode(FOUND))
    alone = cost(found)
    assert [(entry.pods, entry.cpu_microhours) for entry in alone.jobs] == [
        (["sealed"], 20_000_000),
        (["q-1-00000"], 2_000_000),
    ]
    assert cost(found, previous=alone) == alone
    assert len(cost(found, previous=cost(pod("q-0"))).jobs) == 2, "the pod that worked is counted already"


def test_what_is_sealed_counts_once_whoever_finds_it() -> None:
    """A status is lost: of the pods that are there one worked, or several found what an earlier one had sealed."""
    finders = [pod("q-1", message=encode(FOUND)), pod("q-2", begin=9, message=encode(FOUND))]
    for pods in (finders, finders[::-1]):
        assert [entry.pods for entry in cost(*pods).jobs].count(["sealed"]) == 1
        assert [entry.job for entry in cost(*pods, pod("q-0")).jobs] == ["q-0", "q-1", "q-2"]


def test_a_journey_keeps_its_costs_when_jobs_and_failed_pods_are_gone() -> None:
    world = World()
    world.settings = type(SETTINGS)(
        SETTINGS.namespace, SETTINGS.runtime_image, SETTINGS.gateway_url, SETTINGS.master_key, price_sheet=ONE_KIND
    )
    world.held = {"quantize"}
    world.apply(scratch().variant("int8")).settle()
    (job,) = world.jobs("quantize")
    world.now += timedelta(hours=1)
    world.end_pod(job["metadata"]["name"], 137, reason="OOMKilled")
    world.settle()
    world.held = set()
    world.settle()
    before = world.status(MODEL, "seed")["cost"]
    quantize = next(entry for entry in before["jobs"] if entry["work"] == "quantize")
    assert len(quantize["pods"]) == 2
    assert quantize["cpuMicrohours"] >= 250_000
    assert before["totals"][0]["micros"] == sum(entry["micros"] for entry in before["jobs"])
    for gone in world.of_kind("Job"):
        world.drop(Ref.of(gone))
    world.settle()
    assert world.status(MODEL, "seed")["cost"] == before


OWNED = {"capital": 73_000, "lifetimeMonths": 36, "utilisationPercent": 50, "powerKilowatts": 1}
ROWS: list[dict[str, Any]] = [
    {"name": "rented", "memoryGiB": 80, "hourly": "2.20"},
    {"name": "owned", "memoryGiB": 80, "onPremises": {**OWNED, "pricePerKilowattHour": "0.20", "insteadOf": "rented"}},
]


def sheet(*rows: dict[str, Any]) -> PriceSheet:
    return PriceSheet.model_validate({"name": "s", "version": "1", "gpus": rows})


def test_owning_breaks_even_when_what_is_saved_has_paid_for_it() -> None:
    """365 hours of work a month save 2.00 each: 730 a month, 100 months for 73,000."""
    late = sheet(*ROWS)
    assert late.break_even_month(late.gpus[1]) is None, "not within 36 months"
    row = {**ROWS[1], "onPremises": {**ROWS[1]["onPremises"], "lifetimeMonths": 120}}
    early = sheet(ROWS[0], row)
    assert early.break_even_month(early.gpus[1]) == 100
    assert early.break_even_month(early.gpus[0]) is None
    assert early.gpus[1].hourly_micros == round(Fraction(73_000_000_000, 120 * 365)) + 200_000


@given(st.integers(1, 10**6), st.integers(1, 100), st.integers(0, 10**7), st.integers(1, 10**8))
def test_the_month_before_has_not_paid(capital: int, utilisation: int, power: int, hourly: int) -> None:
    owned = OnPremises(
        capital=capital,
        lifetime_months=1,
        utilisation_percent=utilisation,
        power_kilowatts=1,
        price_per_kilowatt_hour=f"{power // 10**6}.{power % 10**6:06}",
    )
    saved = Fraction((hourly - power) * 730 * utilisation, 100)
    month = owned.break_even_month(hourly)
    if month is None:
        assert saved <= 0
        return
    assert saved * month >= capital * 10**6
    assert month == 1 or saved * (month - 1) < capital * 10**6


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (({"name": "a", "memoryGiB": 80},), "exactly one of hourly and onPremises"),
        (({"name": "a", "memoryGiB": 80, "hourly": 2.5},), "hourly"),
        (({"name": "a", "memoryGiB": 80, "hourly": "-1"},), "hourly"),
        (({"name": "a", "memoryGiB": 80, "hourly": 1, "perHour": 1},), "perHour"),
        ((ROWS[0], ROWS[0]), "same name"),
        ((ROWS[1],), "insteadOf names rented"),
    ],
)
def test_a_sheet_that_says_nothing_certain_is_refused(rows: tuple[dict[str, Any], ...], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        sheet(*rows)
