"""What is measured of the base and of every variant, each measurement by work of its own.

So one that is asked for later, by a new field or a gate, computes nothing that is known, and an older operator's seals
keep their identities.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deepseek_runtime.wire.result import JobResult

from deepseek_operator.api.deepseekmodel import (
    ArtifactStatus,
    BenchmarkStatus,
    DeepSeekModelSpec,
    LongContextStatus,
    RoutingStatus,
    ScoresStatus,
)
from deepseek_operator.controllers.artifacts import Advance
from deepseek_operator.controllers.attempts import Work, stand
from deepseek_operator.controllers.decision import Observed
from deepseek_operator.controllers.gate import compares
from deepseek_operator.controllers.model_works import ModelWorks
from deepseek_operator.controllers.origin import BASE

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One kind of measurement: where its identity is remembered, and how its figures get into the status."""

    identity: str
    remembered: Callable[[ArtifactStatus, ArtifactStatus], Fields | None]
    """What an older status knows, for the artifact as it is so far; None where it knows nothing."""
    found: Callable[[ArtifactStatus, JobResult], Fields | None]
    """What a Job found; None where its result is of another kind."""


def wanted(spec: DeepSeekModelSpec, name: str) -> tuple[str, ...]:
    """The kinds of measurements of the base or a variant, in the order in which they are made; none of an export."""
    exported = any(variant.name == name and variant.export is not None for variant in spec.variants)
    if spec.evaluation is None or exported:
        return ()
    asked = {
        "evaluate": True,
        "compare": compared(spec, name),
        "longcontext": spec.evaluation.long_context is not None,
        "benchmark": spec.evaluation.benchmark is not None,
    }
    return tuple(kind for kind in KINDS if asked[kind])


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
    for kind in KINDS:
        for name in [name for name in latest if kind in wanted(works.spec, name)]:
            work = _work(works, kind, latest[name], latest[BASE])
            step = _remembered(KINDS[kind], work, latest[name], before.get(name))
            if kind == "benchmark":
                its_turn = quiet and all(earlier.over for earlier in advances)
            else:
                its_turn = all(earlier.ready for earlier in advances if earlier.artifact.name == name)
            if step is None and its_turn:
                step = _step(KINDS[kind], work, latest[name], observed, now)
            if step is not None:
                advances.append(step)
                latest[name] = step.artifact
    return tuple(advances)


def unmeasured(artifact: ArtifactStatus) -> ArtifactStatus:
    """An artifact of which nothing is known yet."""
    return artifact.model_copy(
        update=dict.fromkeys(("scores", "long_context", "benchmark", *(kind.identity for kind in KINDS.values())))
    )


def _work(works: ModelWorks, kind: str, artifact: ArtifactStatus, base: ArtifactStatus) -> Work:
    evaluation = works.spec.evaluation
    assert evaluation is not None, "nothing is wanted without an evaluation"  # noqa: S101
    if kind == "benchmark" and evaluation.benchmark is not None:
        return works.benchmark(evaluation.benchmark, artifact)
    if kind == "longcontext" and evaluation.long_context is not None:
        return works.long_context(evaluation, evaluation.long_context, artifact)
    if kind == "compare":
        return works.compare(evaluation, artifact, base)
    return works.evaluate(evaluation, artifact)


def _remembered(
    measurement: Measurement, work: Work, artifact: ArtifactStatus, old: ArtifactStatus | None
) -> Advance | None:
    if old is None or getattr(old, measurement.identity) != work.identity:
        return None
    known = measurement.remembered(artifact, old)
    return Advance(work, _filled(measurement, work, artifact, known)) if known is not None else None


def _step(measurement: Measurement, work: Work, artifact: ArtifactStatus, observed: Observed, now: datetime) -> Advance:
    standing = stand(work, observed, now)
    found = measurement.found(artifact, standing.result) if standing.result is not None else None
    if found is not None:
        artifact = _filled(measurement, work, artifact, found)
    children = (standing.child,) if standing.child is not None else ()
    return Advance(work, artifact, children, standing, standing.failure)


def _filled(measurement: Measurement, work: Work, artifact: ArtifactStatus, figures: Fields) -> ArtifactStatus:
    return artifact.model_copy(update={**figures, measurement.identity: work.identity})


_COMPARED = ("kl_divergence", "top1_agreement")


def _old_scores(artifact: ArtifactStatus, old: ArtifactStatus) -> Fields | None:
    return {"scores": old.scores.model_copy(update=dict.fromkeys(_COMPARED))} if old.scores is not None else None


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


def _old_comparison(artifact: ArtifactStatus, old: ArtifactStatus) -> Fields | None:
    if artifact.scores is None or old.scores is None or old.scores.kl_divergence is None:
        return None
    figures = {field: getattr(old.scores, field) for field in _COMPARED}
    return {"scores": artifact.scores.model_copy(update=figures)}


def _new_comparison(artifact: ArtifactStatus, result: JobResult) -> Fields | None:
    if artifact.scores is None or result.comparison is None:
        return None
    figures = {field: getattr(result.comparison, field) for field in _COMPARED}
    return {"scores": artifact.scores.model_copy(update=figures)}


def _old_long_context(artifact: ArtifactStatus, old: ArtifactStatus) -> Fields | None:
    return {"long_context": old.long_context} if old.long_context is not None else None


def _new_long_context(artifact: ArtifactStatus, result: JobResult) -> Fields | None:
    if result.long_context is None:
        return None
    return {"long_context": LongContextStatus.model_validate(result.long_context.model_dump())}


def _old_benchmark(artifact: ArtifactStatus, old: ArtifactStatus) -> Fields | None:
    return {"benchmark": old.benchmark} if old.benchmark is not None else None


def _new_benchmark(artifact: ArtifactStatus, result: JobResult) -> Fields | None:
    if result.benchmark is None:
        return None
    return {"benchmark": BenchmarkStatus(**result.benchmark.model_dump(), image=result.image)}


KINDS: Mapping[str, Measurement] = {
    "evaluate": Measurement("evaluation_identity", _old_scores, _new_scores),
    "compare": Measurement("comparison_identity", _old_comparison, _new_comparison),
    "longcontext": Measurement("long_context_identity", _old_long_context, _new_long_context),
    "benchmark": Measurement("benchmark_identity", _old_benchmark, _new_benchmark),
}
