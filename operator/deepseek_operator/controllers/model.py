"""DeepSeekModel: the base and its proof, then its variants, then what is measured of each."""

from dataclasses import dataclass
from datetime import datetime

from deepseek_runtime.wire.paths import STATUS_PORT

from deepseek_operator.api.base import LastFailure
from deepseek_operator.api.deepseekmodel.artifact import ArtifactStatus
from deepseek_operator.api.deepseekmodel.spec import DeepSeekModelSpec
from deepseek_operator.api.deepseekmodel.status import DeepSeekModelStatus
from deepseek_operator.api.deepseekmodel.verification import VerificationStatus
from deepseek_operator.api.names import FINALIZER_IN_USE, MODEL, TRAINING, Condition, Reason
from deepseek_operator.controllers import caching, export, gate, measurements, signing, succession, verification
from deepseek_operator.controllers.artifacts import Advance, advance, remembered
from deepseek_operator.controllers.conditions import (
    Verdict,
    holds,
    pending,
    refused,
    roll_up,
    stalled,
    stamp,
    terminating,
)
from deepseek_operator.controllers.cost import accrued
from deepseek_operator.controllers.decision import Child, Decision, Object, Observed, Ref, Remove, Settings
from deepseek_operator.controllers.events import transitions
from deepseek_operator.controllers.fit import elsewhere, sizing
from deepseek_operator.controllers.in_use import users
from deepseek_operator.controllers.isolation import isolate
from deepseek_operator.controllers.model_works import ModelWorks
from deepseek_operator.controllers.origin import BASE, Origin
from deepseek_operator.controllers.progress import progress_status, shown
from deepseek_operator.controllers.remedies import REMEDIES, with_remedy
from deepseek_operator.controllers.resource import Invalid, deleting, read_spec, read_status
from deepseek_operator.controllers.retirement import superseded
from deepseek_operator.controllers.sources import origin
from deepseek_operator.controllers.volumes import without_volume
from deepseek_operator.desired.labels import Owner
from deepseek_operator.desired.quantity import human_bytes

VOLATILE = frozenset({"progress"})

_PHASES = {
    Reason.BUILDING: "Building",
    Reason.FETCHING: "Fetching",
    Reason.IMPORTING: "Importing",
    Reason.PUBLISHING: "Publishing",
}
_DOING = {
    "build": Reason.BUILDING,
    "fetch": Reason.FETCHING,
    "import": Reason.IMPORTING,
    "publish": Reason.PUBLISHING,
    "verify": Reason.VERIFYING,
    "quantize": Reason.QUANTIZING,
    "export": Reason.EXPORTING,
    "sign": Reason.SIGNING,
    "evaluate": Reason.EVALUATING,
    "compare": Reason.EVALUATING,
    "longcontext": Reason.EVALUATING,
    "task": Reason.EVALUATING,
    "benchmark": Reason.EVALUATING,
}


@dataclass(frozen=True, slots=True)
class Life:
    """How far a model has come: each list goes only as far as the one before it allows."""

    origin: Origin | Verdict
    base: Advance | None = None
    verification: Advance | None = None
    proof: VerificationStatus | None = None
    variants: tuple[Advance, ...] = ()
    unexportable: Verdict | None = None
    signatures: tuple[Advance, ...] = ()
    scores: tuple[Advance, ...] = ()

    @property
    def parts(self) -> tuple[Advance, ...]:
        """Everything that has been looked at, in the order of work."""
        first = tuple(part for part in (self.base, self.verification) if part is not None)
        return first + self.variants + self.signatures + self.scores


class ModelController:
    """Decides for one DeepSeekModel."""

    kind = MODEL

    def references(self, resource: Object) -> frozenset[Ref]:
        """The run that the base comes from."""
        # asked at every change of every model, and few come from a run
        if "trainingRun" not in ((resource.get("spec") or {}).get("source") or {}):
            return frozenset()
        spec = read_spec(DeepSeekModelSpec, resource)
        if isinstance(spec, Invalid) or spec.source.training_run is None:
            return frozenset()
        return frozenset({Ref(TRAINING, resource["metadata"]["namespace"], spec.source.training_run.name)})

    def decide(self, resource: Object, observed: Observed, now: datetime, settings: Settings) -> Decision:
        """Children, removals and status of a model."""
        owner = Owner.of(resource)
        previous = read_status(DeepSeekModelStatus, resource)
        generation = resource["metadata"]["generation"]
        held_by = users(owner.name, observed)
        finalizers = frozenset({FINALIZER_IN_USE}) if held_by and not observed.namespace_terminating else frozenset()
        if deleting(resource):
            blocked = (_blocked(held_by),) if finalizers else ()
            status = previous.model_copy(
                update={
                    "phase": "Terminating",
                    "progress": None,
                    "observed_generation": generation,
                    "conditions": stamp(terminating(*blocked), previous.conditions, generation, now),
                }
            )
            return Decision(status=status.to_object(), finalizers=finalizers, volatile=VOLATILE)
        spec = read_spec(DeepSeekModelSpec, resource)
        if isinstance(spec, Invalid):
            status = previous.model_copy(
                update={
                    "phase": "Failed",
                    "progress": None,
                    "observed_generation": generation,
                    "conditions": stamp(
                        refused(Reason.INVALID_CONFIG, spec.message), previous.conditions, generation, now
                    ),
                }
            )
            events = transitions(previous, status, "Validate")
            return Decision(status=status.to_object(), events=events, finalizers=finalizers, volatile=VOLATILE)
        wanted = origin(owner.namespace, spec, previous, observed)
        basis = succession.basis(previous, None if isinstance(wanted, Verdict) else wanted.identity)
        works = ModelWorks(owner, spec, settings)
        # what was there before may say where the base comes from
        found = wanted if basis is previous else origin(owner.namespace, spec, basis, observed)
        life = live(works, found, basis, observed, now)
        isolation = isolate(owner, (STATUS_PORT,), observed, settings, fetches=spec.source.remote)
        status, wake = _status(spec, life, basis, observed, generation, now)
        # What is there already is never waited for, so a source that is waited for is another.
        awaited = isinstance(life.origin, Verdict) and not life.origin.stalled
        replaces = succession.overtakes(previous, status, observed, awaited=awaited)
        if replaces:
            status = succession.beside(spec, previous, status, generation, now)
        figures = {
            "sizing": sizing(status.architecture, status.artifacts, settings.price_sheet)
            or elsewhere(life.base, previous, settings.price_sheet),
            "cost": accrued(previous.cost, observed, settings.price_sheet),
        }
        status = status.model_copy(update=figures)
        proven = verification.may_be_used(spec, status)
        copies = caching.cache(owner, spec, status, observed, settings, proven=proven)
        status = copies.told(status, previous, generation, now)
        superseded_parts = _removals(owner.name, spec, life, observed, keep_all=replaces)
        return Decision(
            children=(*isolation.children, *_children(life), *copies.children),
            remove=(*isolation.remove, *_to_make_anew(life, observed), *superseded_parts, *copies.remove),
            status=status.to_object(),
            events=transitions(previous, status, "Reconcile"),
            wake_after=wake,
            finalizers=finalizers,
            volatile=VOLATILE,
        )

    def orphaned(self, ref: Ref, observed: Observed) -> tuple[Remove, ...]:
        """Nothing: every child has an owner reference."""
        return ()


def live(
    works: ModelWorks, found: Origin | Verdict, previous: DeepSeekModelStatus, observed: Observed, now: datetime
) -> Life:
    """How far the model has come."""
    spec, owner = works.spec, works.owner
    if isinstance(found, Verdict):
        return Life(found)
    # Without an architecture the status was not written by a sealed base.
    known = previous.artifacts if previous.architecture is not None else []
    base = advance(owner, works.base(found), spec.storage, known, observed, now, found)
    if found.otherwise is not None and base.artifact.phase == "Failed":
        return Life(found.otherwise)
    if not base.ready:
        return Life(found, base)
    verifying, proof = verification.verify(works, base, previous, observed, now)
    held = verifying is not None and proof is None
    impossible = export.impossible(spec.variants, base.architecture or previous.architecture)
    making = [works.variant(variant, base.artifact) for variant in spec.variants if variant not in impossible]
    if held:  # nothing more is made of it, and what was made is kept
        making = [work for work in making if remembered(work.subject, work.identity, known) is not None]
    variants = tuple(advance(owner, work, spec.storage, known, observed, now) for work in making)
    if held:
        return Life(found, base, verifying, proof, variants)
    (base, *others), signatures = signing.sign(works, found, (base, *variants), known, observed, now)
    variants = tuple(others)
    sealed = [part.artifact for part in (base, *variants) if part.ready]
    quiet = all(part.over for part in (*variants, *signatures))
    scores = measurements.measure(works, sealed, previous.artifacts, observed, now, quiet=quiet)
    unexportable = export.verdict(impossible, base.architecture or previous.architecture)
    return Life(found, base, verifying, proof, variants, unexportable, signatures, scores)


def _children(life: Life) -> tuple[Child, ...]:
    return tuple(child for part in life.parts for child in part.children)


def _to_make_anew(life: Life, observed: Observed) -> tuple[Remove, ...]:
    jobs = (removal for part in life.parts if part.standing is not None for removal in part.standing.removals)
    return (*without_volume(_children(life), observed), *jobs)


def _removals(
    model: str, spec: DeepSeekModelSpec, life: Life, observed: Observed, *, keep_all: bool
) -> tuple[Remove, ...]:
    """`keep_all`: of the declared parts, for what is sealed has yet to take over from what was."""
    signed = frozenset({"sign"}) if spec.signing is not None else frozenset[str]()
    declared = {
        name: signed | {each.kind for each in measurements.wanted(spec, name)}
        for name in (BASE, *(variant.name for variant in spec.variants))
    }
    sealed = {
        part.artifact.name: part.artifact
        for part in ((life.base,) if life.base is not None else ()) + life.variants
        if part.ready and not keep_all
    }
    return superseded(model, [part.work for part in life.parts], sealed, declared, observed)


def _status(
    spec: DeepSeekModelSpec,
    life: Life,
    previous: DeepSeekModelStatus,
    observed: Observed,
    generation: int,
    now: datetime,
) -> tuple[DeepSeekModelStatus, float | None]:
    artifacts = _artifacts(spec, life, previous)
    domain = _domain(spec, life, artifacts)
    verdicts = roll_up(domain, holds(Condition.READY, Reason.READY, _summary(spec, life)))
    ready = verdicts[0]
    working = [part for part in life.parts if not part.ready]
    progress, waits = None, [part.standing.wake_after for part in working if part.standing is not None]
    for part in working:
        figures = shown(part.standing.pods if part.standing else (), part.work.identity, observed, now)
        waits.append(figures.wake_after)
        if figures.unreachable is not None:
            verdicts = (*verdicts, figures.unreachable)
            break
        if figures.figures is not None:
            progress = progress_status(part.work.called, figures.figures)
            break
    base = next((artifact for artifact in artifacts if artifact.name == BASE and artifact.digest), None)
    sealed = life.base is not None and life.base.ready
    known = life.base.architecture if life.base is not None and life.base.architecture else previous.architecture
    status = DeepSeekModelStatus(
        observed_generation=generation,
        conditions=stamp(verdicts, previous.conditions, generation, now),
        last_failure=None if ready.status == "True" else _last_failure(life, working, previous),
        progress=progress,
        phase=_phase(ready, life, stuck=any(verdict.stalled for verdict in domain)),
        digest=base.digest if base else None,
        revision=base.revision if base else None,
        size=human_bytes(base.bytes) if base and base.bytes is not None else None,
        architecture=known if sealed or isinstance(life.origin, Verdict) else None,
        artifacts=artifacts,
        lineage=previous.lineage if isinstance(life.origin, Verdict) else life.origin.traced(base),
        verification=life.proof if life.base is not None else previous.verification,
    )
    return status, min((wait for wait in waits if wait is not None), default=None)


def _domain(spec: DeepSeekModelSpec, life: Life, artifacts: list[ArtifactStatus]) -> tuple[Verdict, ...]:
    if isinstance(life.origin, Verdict) or life.base is None:
        return (life.origin,) if isinstance(life.origin, Verdict) else ()
    acquired = _verdict(Condition.ACQUIRED, (life.base,), 1, f"the base is sealed on {life.base.artifact.claim}")
    verdicts = [acquired]
    checking = life.verification
    working = None if checking is None else _verdict(Condition.VERIFIED, (checking,), 1, "")
    if (verified := verification.verdict(spec, life.base, life.proof, working)) is not None:
        verdicts.append(verified)
    if spec.variants:
        verdicts.append(
            life.unexportable
            or _verdict(
                Condition.VARIANTS_READY,
                life.variants,
                len(spec.variants),
                f"{', '.join(variant.name for variant in spec.variants)}: sealed",
            )
        )
    if spec.signing is not None:
        names = [part.artifact.name for part in life.signatures]
        wanted = len(spec.variants) + (spec.source.scratch is not None or spec.source.training_run is not None)
        verdicts.append(_verdict(Condition.SIGNED, life.signatures, wanted, f"{', '.join(names)}: signed"))
    if spec.evaluation is not None:
        wanted = sum(len(measurements.wanted(spec, name)) for name in (BASE, *(v.name for v in spec.variants)))
        scores = {part.artifact.name: part.artifact.scores for part in life.scores if part.artifact.scores}
        scored = ", ".join(f"{name} {found.perplexity:.4g}" for name, found in scores.items())
        found = "; ".join((f"perplexity: {scored}", *measurements.task_summaries(life.scores)))
        verdicts.append(_verdict(Condition.EVALUATED, life.scores, wanted, found))
    gates = gate.verdict(spec, artifacts)
    return (*verdicts, gates) if gates is not None else tuple(verdicts)


def _verdict(condition: str, parts: tuple[Advance, ...], wanted: int, done: str) -> Verdict:
    """True when all parts are done; else what the first of them is at, one that failed before all."""
    for part in parts:
        if part.standing is not None and part.standing.state == "Failed" and part.failure is not None:
            reason = part.failure.reason if part.failure.reason in REMEDIES else Reason.WORK_FAILED
            return stalled(condition, reason, f"{part.work.called} failed: {part.failure.message}")
    for part in parts:
        if part.failure is not None and not part.ready and (part.standing is None or part.standing.blocked):
            return pending(condition, part.failure.reason, part.failure.message)
        if part.trouble is not None and not part.ready:
            return pending(condition, *part.trouble)
    waiting = [part for part in parts if not part.ready]
    if waiting:
        work, job = waiting[0].work, waiting[0].standing.job if waiting[0].standing else ""
        others = f", and {len(waiting) - 1} more" if len(waiting) > 1 else ""
        return pending(condition, _DOING[work.kind], f"{work.called} is at work in Job {job}{others}.")
    if len(parts) < wanted:
        return pending(condition, Reason.PENDING, f"{wanted - len(parts)} of {wanted} wait for what comes before.")
    return holds(condition, Reason.COMPLETE, f"{done}.")


def _artifacts(spec: DeepSeekModelSpec, life: Life, previous: DeepSeekModelStatus) -> list[ArtifactStatus]:
    if life.base is None:
        return gate.judged(spec, previous.artifacts)  # what is sealed stays known while its source is waited for
    latest = {part.artifact.name: part.artifact for part in life.parts}
    if spec.evaluation is None:
        latest = {name: measurements.unmeasured(artifact) for name, artifact in latest.items()}
    return gate.judged(spec, list(latest.values()))


def _last_failure(life: Life, working: list[Advance], previous: DeepSeekModelStatus) -> LastFailure | None:
    """The newest failure; an older one stays while the work it concerns goes on."""
    now = [part.failure for part in working if part.failure is not None]
    if now:
        return max(now, key=lambda failure: (failure.time, failure.component))
    old = previous.last_failure
    if old is None or life.base is None:
        return old
    open_ = {f"Job/{part.standing.job}" for part in working if part.standing is not None}
    open_ |= {f"PersistentVolumeClaim/{part.artifact.claim}" for part in working}
    return old if old.component in open_ else None


def _phase(ready: Verdict, life: Life, *, stuck: bool) -> str:
    if ready.status == "True":
        return "Ready"
    if stuck:
        return "Blocked" if ready.reason == Reason.GATE_BLOCKED else "Failed"
    if isinstance(life.origin, Verdict) or life.base is None:
        return "Pending"
    if not life.base.ready:
        return _PHASES[_DOING[life.base.work.kind]]
    if life.verification is not None and not life.verification.ready:
        return "Verifying"
    if making := [part.work.kind for part in life.variants if not part.ready]:
        return "Exporting" if making[0] == "export" else "Quantizing"
    return "Signing" if any(not part.ready for part in life.signatures) else "Evaluating"


def _summary(spec: DeepSeekModelSpec, life: Life) -> str:
    if life.base is None:
        return ""
    size = human_bytes(life.base.artifact.bytes or 0)
    names = ", ".join(variant.name for variant in spec.variants)
    return f"base {size}, digest {(life.base.artifact.digest or '')[:12]}" + (f"; variants {names}" if names else "")


def _blocked(held_by: tuple[str, ...]) -> Verdict:
    happened = f"{', '.join(held_by)}: in need of this model"
    return holds(Condition.DELETION_BLOCKED, Reason.IN_USE, with_remedy(Reason.IN_USE, happened))
