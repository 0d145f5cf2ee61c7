"""What a resource's Jobs have used and cost: resources × time of every pod that has ended, failed ones among them.

A pod counts once, from its start (image pulls included, for its GPUs were taken) to the end of its container. What is
in a status stays: pods and Jobs that are deleted later take no cost with them, another price sheet changes none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from deepseek_runtime.wire.result import decode

from deepseek_operator.api.cost import MAX_JOBS, MAX_PODS, CostStatus, CostTotal, JobCost
from deepseek_operator.api.fit import PriceSheetStatus
from deepseek_operator.api.names import Label
from deepseek_operator.api.price_sheet import MICROS, GpuPrice, PriceSheet
from deepseek_operator.controllers.attempts import job_of
from deepseek_operator.controllers.conditions import moment
from deepseek_operator.controllers.decision import Object, Observed
from deepseek_operator.controllers.failures import running_terminated
from deepseek_operator.desired.quantity import amount

GPU_SUFFIX = "/gpu"
"""Of the resources that count as GPUs where the sheet has no row: nvidia.com/gpu, amd.com/gpu."""

SEALED = "sealed"


@dataclass(frozen=True, slots=True)
class Use:
    """What one pod took, for how long."""

    gpu: str | None
    gpus: Decimal
    cpus: Decimal
    node_selector: dict[str, str]

    @classmethod
    def of(cls, pod: Object, sheet: PriceSheet | None) -> "Use":
        """By its containers' requests, which are what the scheduler reserves."""
        asked: dict[str, Decimal] = {}
        for container in (pod.get("spec") or {}).get("containers") or ():
            resources = container.get("resources") or {}
            wanted = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
            for name, quantity in wanted.items():
                asked[name] = asked.get(name, Decimal(0)) + amount(str(quantity))
        known = {row.resource_name for row in sheet.gpus} if sheet is not None else set()
        gpu = next((name for name in sorted(asked) if name in known or name.endswith(GPU_SUFFIX)), None)
        count = asked[gpu] if gpu is not None else Decimal(0)
        selector = (pod.get("spec") or {}).get("nodeSelector") or {}
        return cls(gpu if count else None, count, asked.get("cpu", Decimal(0)), selector)

    def row(self, sheet: PriceSheet | None) -> GpuPrice | None:
        """The one row of the sheet that these GPUs are of."""
        rows = [row for row in sheet.gpus if row.resource_name == self.gpu] if sheet is not None else []
        if len(rows) > 1:
            rows = [row for row in rows if row.node_labels and row.node_labels.items() <= self.node_selector.items()]
        return rows[0] if len(rows) == 1 else None

    def hourly_micros(self, sheet: PriceSheet | None) -> Fraction | None:
        """The price of an hour of it; None where the sheet has none."""
        if sheet is None:
            return None
        if self.gpu is not None:
            row = self.row(sheet)
            return Fraction(self.gpus) * row.hourly_micros if row is not None else None
        core = sheet.cpu_core_hourly_micros
        return Fraction(self.cpus) * core if core is not None else None


def accrued(previous: CostStatus | None, observed: Observed, sheet: PriceSheet | None) -> CostStatus | None:
    """The cost with what has ended since; None where nothing has."""
    jobs = list(previous.jobs) if previous is not None else []
    earlier = list(previous.earlier) if previous is not None else []
    seen = {str(job_of(pod)) for pod in observed.pods}
    for found in sorted(_ended(observed.pods, jobs, sheet), key=lambda cost: (cost.finished_at, cost.pods)):
        if any(cost.job == found.job and found.pods[0] in cost.pods for cost in jobs):
            continue
        index = next((i for i, cost in enumerate(jobs) if _continues(found, cost)), None)
        if index is not None:
            jobs[index] = _joined(jobs[index], found)
            continue
        if len(jobs) == MAX_JOBS:
            gone = next((cost for cost in jobs if cost.job not in seen), None)
            if gone is None:
                continue  # it is counted when the pods of another Job are gone
            jobs.remove(gone)
            earlier = _totals(earlier, [gone])
        jobs.append(found)
    if not jobs and not earlier:
        return None
    jobs.sort(key=lambda cost: (cost.finished_at, cost.job))
    totals = _totals(earlier, jobs)
    return CostStatus(summary=_summary(totals), totals=totals, jobs=jobs, earlier=earlier)


def _ended(pods: Sequence[Object], jobs: Sequence[JobCost], sheet: PriceSheet | None) -> Iterable[JobCost]:
    """One entry for each pod of a Job that has ended, and for work that was done before any pod that is there."""
    known, found = {(cost.work, cost.subject, cost.identity) for cost in jobs}, []
    for pod in pods:
        labels = pod["metadata"].get("labels") or {}
        job, ended = job_of(pod), running_terminated(pod)
        if not job or ended is None:
            continue
        started = (pod.get("status") or {}).get("startTime") or ended.get("startedAt")
        finished = ended.get("finishedAt")
        if not started or not finished:
            continue
        part = (labels.get(Label.WORK, ""), labels.get(Label.SUBJECT, ""), labels.get(Label.IDENTITY, "")[:8])
        use = Use.of(pod, sheet)
        yield _cost(job, part, pod["metadata"]["name"], started, finished, use, sheet)
        result = decode(str(ended.get("message") or ""))
        if result is None or not result.cached:
            known.add(part)
        elif result.started_at and result.finished_at:
            found.append((job, part, result.started_at, result.finished_at, use))
    for job, part, started, finished, use in found:
        if part not in known:
            # Status and Job of that time are lost: its result alone tells how long it worked.
            known.add(part)
            yield _cost(f"{job}-{SEALED}"[-63:], part, SEALED, started, finished, use, sheet)


def _cost(
    job: str, part: tuple[str, str, str], pod: str, started: str, finished: str, use: Use, sheet: PriceSheet | None
) -> JobCost:
    hours = Fraction(max(timedelta(), moment(finished) - moment(started)) // timedelta(seconds=1), 3600)
    price, row = use.hourly_micros(sheet), use.row(sheet)
    work, subject, identity = part
    return JobCost(
        job=job,
        work=work,
        subject=subject,
        identity=identity,
        pods=[pod],
        started_at=started,
        finished_at=finished,
        gpu=row.name if row is not None else None,
        gpu_microhours=round(Fraction(use.gpus) * hours * MICROS),
        cpu_microhours=round(Fraction(use.cpus) * hours * MICROS),
        micros=round(price * hours) if price is not None else None,
        currency=sheet.currency if sheet is not None else "",
        price_sheet=PriceSheetStatus(name=sheet.name, version=sheet.version) if sheet is not None else None,
    )


def _continues(found: JobCost, cost: JobCost) -> bool:
    """Whether a pod belongs to an entry: of the same Job, priced alike."""
    same = (found.job, found.gpu, found.currency, found.price_sheet, found.micros is None)
    return (cost.job, cost.gpu, cost.currency, cost.price_sheet, cost.micros is None) == same and len(
        cost.pods
    ) < MAX_PODS


def _joined(cost: JobCost, found: JobCost) -> JobCost:
    return cost.model_copy(
        update={
            "pods": [*cost.pods, *found.pods],
            "started_at": min(cost.started_at, found.started_at),
            "finished_at": max(cost.finished_at, found.finished_at),
            "gpu_microhours": cost.gpu_microhours + found.gpu_microhours,
            "cpu_microhours": cost.cpu_microhours + found.cpu_microhours,
            "micros": None if cost.micros is None or found.micros is None else cost.micros + found.micros,
        }
    )


def _totals(totals: Sequence[CostTotal], jobs: Iterable[JobCost]) -> list[CostTotal]:
    """The totals with these Jobs in them, in the order of their currencies; of a ninth currency only hours are kept."""
    sums = {total.currency: total for total in totals}
    for job in jobs:
        currency = job.currency if job.currency in sums or len(sums) < 8 else ""
        old = sums.get(currency) or CostTotal(currency=currency, micros=0, gpu_microhours=0, cpu_microhours=0)
        priced = job.micros if currency == job.currency else None
        sums[currency] = CostTotal(
            currency=currency,
            micros=old.micros + (priced or 0),
            gpu_microhours=old.gpu_microhours + job.gpu_microhours,
            cpu_microhours=old.cpu_microhours + job.cpu_microhours,
            unpriced=old.unpriced + (priced is None),
        )
    return [sums[currency] for currency in sorted(sums)]


def _summary(totals: Sequence[CostTotal]) -> str:
    gpu, cpu = (sum(getattr(total, name) for total in totals) for name in ("gpu_microhours", "cpu_microhours"))
    parts = [f"{_decimal(gpu)} GPU-hours" if gpu else "", f"{_decimal(cpu)} CPU-hours"]
    money = " + ".join(f"{_decimal(total.micros)} {total.currency}" for total in totals if total.currency)
    return ", ".join(filter(None, [money, *parts]))


def _decimal(value: int) -> str:
    """Millionths as a number with two to six decimals, all that are not zero."""
    whole, _, fraction = f"{Decimal(value) / MICROS:.6f}".partition(".")
    return f"{whole}.{fraction.rstrip('0'):0<2}"
