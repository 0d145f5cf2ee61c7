"""What is measured of the base and of every variant, each measurement by work of its own.

So one that is asked for later, by a new field or a gate, computes nothing that is known, and an older operator's seals
keep their identities.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from deepseek_runtime.wire.result import JobResult

from deepseek_operator.api.deepseekmodel.artifact import ArtifactStatus
from deepseek_operator.api.deepseekmodel.evaluation import TaskSpec
from deepseek_operator.api.deepseekmodel.measurements import (
    BenchmarkStatus,
    LongContextStatus,
    RoutingStatus,
    ScoresStatus,
    TaskMetricStatus,
    TaskStatus,
)
from deepseek_operator.api.deepseekmodel.spec import DeepSeekModelSpec
from deepseek_operator.controllers.artifacts import Advance
from deepseek_operator.controllers.attempts import Work, jobs_of, stand
from deepseek_operator.controllers.decision import Observed
from deepseek_operator.controllers.gate import compares
from deepseek_operator.controllers.model_works import ModelWorks
from deepseek_operator.controllers.origin import BASE

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement: how its figures get into the status, with the identity that they have there."""

    kind: str
    remembered: Callable[[ArtifactStatus, ArtifactStatus, str], Fields | None]
    """What an older status knows by this identity, for the artifact as it is so far; None where it knows nothing."""
    found: Callable[[ArtifactStatus, JobResult], Fields | None]
    """What a Job found; None where its result is of another kind."""
    task: TaskSpec | None = None

    @property
    def called(self) -> tuple[str, str]:
        """The kind, and which of several it is."""
        return self.kind, self.task.name if self.task is not None else ""


def wanted(spec: DeepSeekModelSpec, name: str) -> tuple[Measurement, ...]:
    """The measurements of the base or a variant, in the order in which they are made; none of an export."""
    exported = any(variant.name == name and variant.export is not None for variant in spec.variants)
    if spec.evaluation is None or exported:
        return ()
    asked = {
        "evaluate": True,
        "compare": compared(spec, name),
        "longcontext": spec.evaluation.long_context is not None,
        "benchmark": spec.evaluation.benchmark is not None,
    }
    return tuple(each for each in _all(spec) if asked.get(each.kind, True))


def task_summaries(measured: Sequence[Advance]) -> tuple[str, ...]:
    """The first metric of each task, for people."""
    latest = {part.artifact.name: part.artifact.tasks or [] for part in measured}
    names = dict.fromkeys(task.name for tasks in latest.values() for task in tasks)
    return tuple(
        f"{name} {tasks[0][1].metric}: {', '.join(f'{artifact} {metric.value:.4g}' for artifact, metric in tasks)}"
        for name in names
        if (tasks := [(a, task.metrics[0]) for a, found in latest.items() for task in found if task.name == name])
    )


def compared(spec: DeepSeekModelSpec, name: str) -> bool:
    """Whether a variant is compared with the base: for all, or because its gate has a limit of the comparison."""
    if spec.evaluation is None or name == BASE:
        return False
    gate = next((variant.gate for variant in spec.variants if variant.name == name), None)
    return spec.evaluation.compare or (gate is not None and compares(gate))


def measure(
    works: ModelWorks,
    sealed: Sequence[ArtifactStatus],
    previous: Sequence[ArtifactStatus],
    observed: Observed,
    now: datetime,
    *,
    quiet: bool,
) -> tuple[Advance, ...]:
    """Measure the sealed artifacts, the base first; what is remembered is taken over.

    The measurements of an artifact are made one after another; a benchmark, which others would disturb, when nothing
    else is at work, whatever has failed. `quiet`: no variant is being made or signed.
    """
    before = {artifact.name: artifact for artifact in previous}
    latest = {artifact.name: unmeasured(artifact) for artifact in sealed}
    advances: list[Advance] = []
    asked = {name: {each.called for each in wanted(works.spec, name)} for name in latest}
    for measurement in _all(works.spec):
        for name in [name for name in latest if measurement.called in asked[name]]:
            work = _work(works, measurement, latest[name], latest[BASE])
            step = _remembered(measurement, work, latest[name], before.get(name))
            if measurement.kind == "benchmark":
                its_turn = quiet and all(earlier.over for earlier in advances)
            else:
                its_turn = all(earlier.ready for earlier in advances if earlier.artifact.name == name)
                its_turn = its_turn or bool(jobs_of(work, observed))  # begun before another was asked for
            if step is None and its_turn:
                step = _step(measurement, work, latest[name], observed, now)
            if step is not None:
                advances.append(step)
                latest[name] = step.artifact
    return tuple(advances)


def unmeasured(artifact: ArtifactStatus) -> ArtifactStatus:
    """An artifact of which nothing is known yet."""
    return artifact.model_copy(
        update=dict.fromkeys(("scores", "long_context", "tasks", "benchmark", *_IDENTITIES.values()))
    )


def _all(spec: DeepSeekModelSpec) -> tuple[Measurement, ...]:
    """Of any artifact; the benchmark is the last."""
    tasks = spec.evaluation.tasks if spec.evaluation is not None else []
    measured = (Measurement("task", partial(_old_task, each), partial(_new_task, each), each) for each in tasks)
    return (*_KINDS[:-1], *measured, _KINDS[-1])


def _work(works: ModelWorks, measurement: Measurement, artifact: ArtifactStatus, base: ArtifactStatus) -> Work:
    evaluation, kind = works.spec.evaluation, measurement.kind
    assert evaluation is not None, "nothing is wanted without an evaluation"  # noqa: S101
    if kind == "benchmark" and evaluation.benchmark is not None:
        return works.benchmark(evaluation.benchmark, artifact)
    if kind == "longcontext" and evaluation.long_context is not None:
        return works.long_context(evaluation, evaluation.long_context, artifact)
    if measurement.task is not None:
        return works.task(measurement.task, artifact)
    if kind == "compare":
        return works.compare(evaluation, artifact, base)
    return works.evaluate(evaluation, artifact)


def _remembered(
    measurement: Measurement, work: Work, artifact: ArtifactStatus, old: ArtifactStatus | None
) -> Advance | None:
    known = measurement.remembered(artifact, old, work.identity) if old is not None else None
    return Advance(work, _filled(measurement, work, artifact, known)) if known is not None else None


def _step(measurement: Measurement, work: Work, artifact: ArtifactStatus, observed: Observed, now: datetime) -> Advance:
    standing = stand(work, observed, now)
    found = measurement.found(artifact, standing.result) if standing.result is not None else None
    if found is not None:
        artifact = _filled(measurement, work, artifact, found)
    children = (standing.child,) if standing.child is not None else ()
    return Advance(work, artifact, children, standing, standing.failure)


def _filled(measurement: Measurement, work: Work, artifact: ArtifactStatus, figures: Fields) -> ArtifactStatus:
    identity = {_IDENTITIES[measurement.kind]: work.identity} if measurement.kind in _IDENTITIES else {}
    return artifact.model_copy(update={**figures, **identity})


_COMPARED = ("kl_divergence", "top1_agreement")


def _old_scores(artifact: ArtifactStatus, old: ArtifactStatus, identity: str) -> Fields | None:
    if old.scores is None or old.evaluation_identity != identity:
        return None
    return {"scores": old.scores.model_copy(update=dict.fromkeys(_COMPARED))}


def _new_scores(artifact: ArtifactStatus, result: JobResult) -> Fields | None:
    scores = result.scores
    if scores is None:
        return None
    shown = ScoresStatus(
        perplexity=scores.perplexity,
        bits_per_byte=scores.bits_per_byte,
        tokens=scores.tokens,
        routing=RoutingStatus.model_validate(scores.routing.model_dump()) if scores.routing is not None else None,
    )
    return {"scores": shown}


def _old_comparison(artifact: ArtifactStatus, old: ArtifactStatus, identity: str) -> Fields | None:
    if artifact.scores is None or old.scores is None or old.scores.kl_divergence is None:
        return None
    if old.comparison_identity != identity:
        return None
    figures = {field: getattr(old.scores, field) for field in _COMPARED}
    return {"scores": artifact.scores.model_copy(update=figures)}


def _new_comparison(artifact: ArtifactStatus, result: JobResult) -> Fields | None:
    if artifact.scores is None or result.comparison is None:
        return None
    figures = {field: getattr(result.comparison, field) for field in _COMPARED}
    return {"scores": artifact.scores.model_copy(update=figures)}


def _old_long_context(artifact: ArtifactStatus, old: ArtifactStatus, identity: str) -> Fields | None:
    known = old.long_context is not None and old.long_context_identity == identity
    return {"long_context": old.long_context} if known else None


def _new_long_context(artifact: ArtifactStatus, result: JobResult) -> Fields | None:
    if result.long_context is None:
        return None
    return {"long_context": LongContextStatus.model_validate(result.long_context.model_dump())}


def _old_benchmark(artifact: ArtifactStatus, old: ArtifactStatus, identity: str) -> Fields | None:
    known = old.benchmark is not None and old.benchmark_identity == identity
    return {"benchmark": old.benchmark} if known else None


def _new_benchmark(artifact: ArtifactStatus, result: JobResult) -> Fields | None:
    if result.benchmark is None:
        return None
    return {"benchmark": BenchmarkStatus(**result.benchmark.model_dump(), image=result.image)}


def _old_task(task: TaskSpec, artifact: ArtifactStatus, old: ArtifactStatus, identity: str) -> Fields | None:
    known = next((each for each in old.tasks or [] if each.identity == identity), None)
    return None if known is None else _with_task(artifact, known.model_copy(update={"name": task.name}))


def _new_task(task: TaskSpec, artifact: ArtifactStatus, result: JobResult) -> Fields | None:
    found = result.task
    if found is None:
        return None
    shown = TaskStatus(
        name=task.name,
        identity=result.identity,
        documents=found.documents,
        few_shot=found.few_shot,
        metrics=[TaskMetricStatus.model_validate(each.model_dump()) for each in found.metrics],
    )
    return _with_task(artifact, shown)


def _with_task(artifact: ArtifactStatus, task: TaskStatus) -> Fields:
    return {"tasks": [*(artifact.tasks or []), task]}


_IDENTITIES: Mapping[str, str] = {
    "evaluate": "evaluation_identity",
    "compare": "comparison_identity",
    "longcontext": "long_context_identity",
    "benchmark": "benchmark_identity",
}
"""Where each kind's identity is remembered; that of a task is with its figures."""

_KINDS = (
    Measurement("evaluate", _old_scores, _new_scores),
    Measurement("compare", _old_comparison, _new_comparison),
    Measurement("longcontext", _old_long_context, _new_long_context),
    Measurement("benchmark", _old_benchmark, _new_benchmark),
)
