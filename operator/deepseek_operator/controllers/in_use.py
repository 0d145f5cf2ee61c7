"""Who uses a model: services that run on it hold it, and nothing that is in use is ever removed."""

from collections.abc import Mapping

from deepseek_operator.api.deepseekmodel.artifact import ArtifactStatus
from deepseek_operator.api.inferenceservice import InferenceServiceSpec, InferenceServiceStatus
from deepseek_operator.api.names import SERVICE, TRAINING
from deepseek_operator.api.trainingrun import TrainingRunSpec, TrainingRunStatus
from deepseek_operator.controllers.decision import Object, Observed
from deepseek_operator.controllers.origin import BASE
from deepseek_operator.controllers.resource import Seen, see

Run = Seen[TrainingRunSpec, TrainingRunStatus]
Service = Seen[InferenceServiceSpec, InferenceServiceStatus]


def users(model: str, observed: Observed) -> tuple[str, ...]:
    """Who would be without weights if a model went: services that run on it, and runs whose first stage is at work."""
    services = (f"InferenceService {name}" for name in services_on(model, observed))
    return (*services, *(f"TrainingRun {name}" for name in runs_on(model, observed)))


def runs_on(model: str, observed: Observed) -> tuple[str, ...]:
    """Names of the runs that have started from a model, and may have to read it again."""
    runs = [_run(resource) for resource in observed.referrers if resource["kind"] == TRAINING]
    started = (run for run in runs if run.spec is not None and run.spec.base.model == model and run.status.base)
    return tuple(sorted(run.name for run in started if not run.deleting))


def services_on(model: str, observed: Observed) -> tuple[str, ...]:
    """Names of the services that run on a model: they have pods, or have answered with it and may again."""
    names = []
    for service in _services(observed):
        serves = service.status.serving is not None and service.status.serving.model == model
        starts = service.spec is not None and service.spec.model.name == model and service.status.replicas > 0
        if not service.deleting and (serves or starts):
            names.append(service.name)
    return tuple(sorted(names))


def settled(model: str, current: Mapping[str, ArtifactStatus], observed: Observed) -> bool:
    """Whether every user of a model is known to use its current artifacts: only then may earlier volumes go."""
    return all(_service_settled(service, model, current) for service in _services(observed)) and all(
        _run_settled(_run(run), model, current) for run in observed.referrers if run["kind"] == TRAINING
    )


def claims_of(pods: tuple[Object, ...]) -> frozenset[str]:
    """The claims that pods hold which have not ended."""
    held = set()
    for pod in pods:
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            for volume in (pod.get("spec") or {}).get("volumes") or ():
                if (source := volume.get("persistentVolumeClaim")) is not None:
                    held.add(source["claimName"])
    return frozenset(held)


def _services(observed: Observed) -> list[Service]:
    return [
        see(InferenceServiceSpec, InferenceServiceStatus, resource)
        for resource in observed.referrers
        if resource["kind"] == SERVICE
    ]


def _service_settled(service: Service, model: str, current: Mapping[str, ArtifactStatus]) -> bool:
    spec, serving = service.spec, service.status.serving
    if spec is None:
        return False
    if serving is not None and serving.model == model:
        kept = current.get(serving.variant or BASE)
        # Equal weights may lie on another volume: those of a revision that was named otherwise.
        if kept is None or (kept.digest, kept.claim) != (serving.digest, serving.claim):
            return False
    # One that starts on this model has proven nothing yet, and its pods may be of an earlier volume.
    return spec.model.name != model or (
        serving is not None and (serving.model, serving.variant) == (model, spec.model.variant)
    )


def _run(resource: Object) -> Run:
    return see(TrainingRunSpec, TrainingRunStatus, resource)


def _run_settled(run: Run, model: str, current: Mapping[str, ArtifactStatus]) -> bool:
    if run.spec is None or run.deleting:
        return False
    if run.spec.base.model != model:
        return True
    if (held := run.status.base) is not None:
        return BASE in current and current[BASE].claim == held.claim
    # One that starts just now, or a later stage, which does not read it.
    return run.status.phase not in ("Training", "Suspended")
