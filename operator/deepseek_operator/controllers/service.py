"""InferenceService: an engine's pods, their address, and the gateway's route to them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from deepseek_runtime.wire.paths import CACHE, ENGINE_PORT, STATUS_PORT
from deepseek_runtime.wire.route import Route
from deepseek_runtime.wire.serve import ServeConfig

from deepseek_operator.api.base import LastFailure, StatusCondition
from deepseek_operator.api.inferenceservice import InferenceServiceSpec, InferenceServiceStatus, ServedModel
from deepseek_operator.api.names import MODEL, SERVICE, Condition, Reason
from deepseek_operator.controllers.attempts import remove
from deepseek_operator.controllers.conditions import (
    Verdict,
    holds,
    moment,
    pending,
    refused,
    roll_up,
    stamp,
    terminating,
)
from deepseek_operator.controllers.decision import Child, Decision, Object, Observed, Ref, Remove, Settings
from deepseek_operator.controllers.events import transitions
from deepseek_operator.controllers.isolation import isolate
from deepseek_operator.controllers.resource import Invalid, deleting, read_spec, read_status
from deepseek_operator.controllers.revision import Revision, running, target
from deepseek_operator.controllers.rollout import Rollout, rollout
from deepseek_operator.desired.deployment import deployment, selector
from deepseek_operator.desired.labels import Owner
from deepseek_operator.desired.pod import Image
from deepseek_operator.desired.route import route
from deepseek_operator.desired.service import service, service_url

Phase = Literal["Pending", "Starting", "Ready", "RollingOut", "ScaledToZero", "Failed", "Terminating"]


@dataclass(frozen=True, slots=True)
class Offer:
    """What is served: the revision that the pods should run, and the one that answers."""

    model: Verdict
    wanted: Revision | None
    pods: Rollout
    serving: ServedModel | None


class ServiceController:
    """Decides for one InferenceService."""

    kind = SERVICE

    def references(self, resource: Object) -> frozenset[Ref]:
        """The model that should answer, and the one that does: it is in use until the other has taken over."""
        spec = read_spec(InferenceServiceSpec, resource)
        serving = read_status(InferenceServiceStatus, resource).serving
        names = {spec.model.name} if not isinstance(spec, Invalid) else set()
        if serving is not None:
            names.add(serving.model)
        return frozenset(Ref(MODEL, resource["metadata"]["namespace"], name) for name in names)

    def decide(self, resource: Object, observed: Observed, now: datetime, settings: Settings) -> Decision:
        """Children, removals and status of a service."""
        owner = Owner.of(resource)
        previous = read_status(InferenceServiceStatus, resource)
        generation = resource["metadata"]["generation"]
        spec = read_spec(InferenceServiceSpec, resource)
        if deleting(resource):
            conditions = stamp(terminating(), previous.conditions, generation, now)
            status = _outside(previous, "Terminating", conditions, generation)
            return Decision(status=status.to_object(), remove=self.orphaned(Ref.of(resource), observed))
        if isinstance(spec, Invalid):
            verdicts = refused(Reason.INVALID_CONFIG, spec.message)
            conditions = stamp(verdicts, previous.conditions, generation, now)
            status = _outside(previous, "Failed", conditions, generation)
            return Decision(status=status.to_object(), events=transitions(previous, status, "Validate"))
        offer = _offer(owner, spec, previous, observed)
        isolation = isolate(owner, (ENGINE_PORT, STATUS_PORT), observed, settings)
        children = (*isolation.children, *_children(resource, owner, spec, offer, settings))
        status = _status(owner, offer, previous, observed, generation, now, settings)
        events = transitions(previous, status, "Serve")
        return Decision(children=children, remove=isolation.remove, status=status.to_object(), events=events)

    def orphaned(self, ref: Ref, observed: Observed) -> tuple[Remove, ...]:
        """The route, which lies in the operator's namespace where no owner reference reaches."""
        return tuple(
            removal for obj in observed.of_kind("ConfigMap") for removal in remove(obj, f"{ref} is being deleted")
        )


def _offer(owner: Owner, spec: InferenceServiceSpec, previous: InferenceServiceStatus, observed: Observed) -> Offer:
    model, found = target(owner.namespace, spec, observed)
    seen = observed.child("Deployment", owner.name)
    wanted = found or running(seen)
    proven = seen is not None and wanted is not None and _runs(seen, wanted)
    pods = rollout(seen, spec.replicas, proven=proven, previous=previous, observed=observed)
    # Until all pods run the new revision, what is proven is the one before; the first is named before its pods are
    # there, so that its model is known to be in use from then on.
    newer = wanted is not None and (pods.settled or previous.serving is None)
    serving = wanted.served if wanted is not None and newer else previous.serving
    return Offer(model, wanted, pods, serving)


def _runs(seen: Object, wanted: Revision) -> bool:
    """Whether a Deployment's template is of this revision."""
    current = running(seen)
    return current is not None and (current.claim, current.served.digest) == (wanted.claim, wanted.served.digest)


def _children(
    resource: Object, owner: Owner, spec: InferenceServiceSpec, offer: Offer, settings: Settings
) -> tuple[Child, ...]:
    wanted = offer.wanted
    if wanted is None:
        return ()
    serve = ServeConfig(
        owner=owner.path,
        served_name=_model_id(owner),
        model_digest=wanted.served.digest,
        tensor_parallel=wanted.tensor_parallel,
        # of a revision that is kept while the spec's own is awaited: the cache is the spec's already
        context_length=min(wanted.context_length, spec.engine.cache_tokens),
        max_sequences=spec.engine.max_sequences,
        cache_tokens=spec.engine.cache_tokens,
        credential=owner.public_key(settings.master_key),
        cache=CACHE if wanted.cache is not None else None,
    )
    image = Image(settings.runtime_image, settings.image_pull_policy)
    answers = offer.serving or wanted.served
    document = Route(
        namespace=owner.namespace,
        service=owner.name,
        uid=owner.uid,
        workload=owner.workload,
        url=service_url(owner, settings.cluster_domain),
        served_name=_model_id(owner),
        ready=offer.pods.ready > 0,
        created=int(moment(resource["metadata"]["creationTimestamp"]).timestamp()),
        context_length=wanted.context_length,
        model=answers.model,
        variant=answers.variant,
        digest=answers.digest,
    )
    engines = deployment(
        owner, spec, serve, wanted.served, wanted.claim, image, one_node=wanted.one_node, cache=wanted.cache
    )
    return (
        Child(engines),
        Child(service(owner), follows=True),
        Child(route(owner, document, settings.namespace), follows=True),
    )


def _status(
    owner: Owner,
    offer: Offer,
    previous: InferenceServiceStatus,
    observed: Observed,
    generation: int,
    now: datetime,
    settings: Settings,
) -> InferenceServiceStatus:
    verdicts = _verdicts(offer, _routed(owner, observed, settings))
    ready = verdicts[0]
    pods = offer.pods
    return InferenceServiceStatus(
        observed_generation=generation,
        conditions=stamp(verdicts, previous.conditions, generation, now),
        last_failure=_last_failure(offer, ready, previous),
        phase=_phase(offer, verdicts),
        replicas=pods.replicas,
        ready_replicas=pods.ready,
        selector=",".join(f"{key}={value}" for key, value in sorted(selector(owner).items())),
        serving=offer.serving,
        url=settings.gateway_url,
        model_id=_model_id(owner),
    )


def _verdicts(offer: Offer, routed: Verdict) -> tuple[Verdict, ...]:
    pods = offer.pods
    if offer.model.status != "True":
        # What answered before still does; that the spec cannot be followed shows all the same.
        keeps = offer.wanted is not None and pods.engine.status == "True" and pods.ready > 0
        if not keeps:
            return roll_up((offer.model,), offer.model)
        ready = holds(Condition.READY, Reason.ROLLING_OUT, f"what answered before goes on; {offer.model.message}")
        return (ready, _kstatus(offer.model), offer.model, pods.engine, routed)
    ready = pods.engine.as_type(Condition.READY, "True")
    verdicts = roll_up((offer.model, pods.engine, routed), ready)
    if verdicts[0].status == "True" and pods.going_on is not None:
        return (verdicts[0], _kstatus(pods.going_on), *verdicts[1:])
    return verdicts


def _kstatus(verdict: Verdict) -> Verdict:
    return verdict.as_type(Condition.STALLED if verdict.stalled else Condition.RECONCILING, "True")


def _routed(owner: Owner, observed: Observed, settings: Settings) -> Verdict:
    if observed.of_kind("ConfigMap"):
        return holds(Condition.ROUTED, Reason.READY, f"the gateway at {settings.gateway_url} has the route.")
    return pending(Condition.ROUTED, Reason.PENDING, "the gateway's route is being written.")


def _last_failure(offer: Offer, ready: Verdict, previous: InferenceServiceStatus) -> LastFailure | None:
    """It stays until every pod of the wanted revision answers."""
    if offer.pods.failure is not None:
        return offer.pods.failure
    done = ready.status == "True" and offer.pods.settled
    return None if done else previous.last_failure


def _phase(offer: Offer, verdicts: tuple[Verdict, ...]) -> Phase:
    ready = verdicts[0]
    if ready.status == "True":
        phases: dict[str, Phase] = {Reason.SCALED_TO_ZERO: "ScaledToZero", Reason.ROLLING_OUT: "RollingOut"}
        return phases.get(ready.reason, "Ready")
    if any(verdict.type == Condition.STALLED for verdict in verdicts):
        return "Failed"
    return "Pending" if offer.model.status != "True" else "Starting"


def _outside(
    previous: InferenceServiceStatus,
    phase: Literal["Terminating", "Failed"],
    conditions: list[StatusCondition],
    generation: int,
) -> InferenceServiceStatus:
    """The status of a service that is not worked on."""
    return previous.model_copy(update={"phase": phase, "observed_generation": generation, "conditions": conditions})


def _model_id(owner: Owner) -> str:
    return f"{owner.namespace}/{owner.name}"
