"""Who uses a model: services that run on it hold it, and nothing that is in use is ever removed."""

from collections.abc import Mapping

from deepseek_operator.api.deepseekmodel.artifact import ArtifactStatus
from deepseek_operator.api.inferenceservice import InferenceServiceSpec, InferenceServiceStatus
from deepseek_operator.api.names import SERVICE, TRAINING
from deepseek_operator.api.trainingrun import TrainingRunSpec, TrainingRunStatus
from deepseek_operator.controllers.decision import Object, Observed
from deepseek_operator.controllers.origin import BASE
from deepseek_operator.controllers.resource import Seen, deleting, see

Service = Seen[InferenceServiceSpec, InferenceServiceStatus]


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
        _run_settled(run, model) for run in observed.referrers if run["kind"] == TRAINING
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
        if kept is None or kept.digest != serving.digest:
            return False
    # One that starts on this model has proven nothing yet, and its pods may be of an earlier volume.
    return spec.model.name != model or (
        serving is not None and (serving.model, serving.variant) == (model, spec.model.variant)
    )


def _run_settled(resource: Object, model: str) -> bool:
    run = see(TrainingRunSpec, TrainingRunStatus, resource)
    if run.spec is None or deleting(resource):
        return False
    return run.spec.base.model != model or run.status.phase not in ("Training", "Suspended")
