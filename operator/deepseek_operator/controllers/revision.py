"""What a service's pods answer with: the artifact that the spec names once it is sealed, until then what runs."""

from dataclasses import dataclass

from deepseek_runtime.wire.paths import CACHE, SERVE_ENVIRONMENT
from deepseek_runtime.wire.paths import MODEL as MODEL_PATH
from deepseek_runtime.wire.serve import ServeConfig

from deepseek_operator.api.deepseekmodel.artifact import ArtifactStatus
from deepseek_operator.api.deepseekmodel.spec import DeepSeekModelSpec
from deepseek_operator.api.deepseekmodel.status import DeepSeekModelStatus
from deepseek_operator.api.inferenceservice import InferenceServiceSpec, ServedModel
from deepseek_operator.api.names import MODEL, Annotation, Condition, Reason
from deepseek_operator.controllers.conditions import Verdict, holds, pending, stalled
from deepseek_operator.controllers.decision import Object, Observed, Ref
from deepseek_operator.controllers.gate import explain, judge
from deepseek_operator.controllers.model_works import one_node
from deepseek_operator.controllers.origin import BASE
from deepseek_operator.controllers.remedies import with_remedy
from deepseek_operator.controllers.resource import see
from deepseek_operator.controllers.sizing import context_length, service_problem
from deepseek_operator.controllers.verification import obstacle


@dataclass(frozen=True, slots=True)
class Revision:
    """A sealed artifact as an engine serves it."""

    served: ServedModel
    claim: str
    context_length: int
    tensor_parallel: int
    one_node: bool
    cache: str | None = None
    """The claim with the copies of nodes, where the artifact is cached."""


def target(namespace: str, spec: InferenceServiceSpec, observed: Observed) -> tuple[Verdict, Revision | None]:
    """Whether what the spec names can be served, and what it is."""
    name, variant = spec.model.name, spec.model.variant
    resource = observed.references.get(Ref(MODEL, namespace, name))
    if resource is None:
        message = with_remedy(Reason.MODEL_NOT_FOUND, f"DeepSeekModel {name} is not in this namespace")
        return pending(Condition.MODEL_READY, Reason.MODEL_NOT_FOUND, message), None
    model = see(DeepSeekModelSpec, DeepSeekModelStatus, resource)
    if model.deleting or model.spec is None:
        state = "being deleted" if model.deleting else "invalid"
        return _waiting(f"DeepSeekModel {name} is {state}"), None
    declared = [each.name for each in model.spec.variants]
    if variant is not None and variant not in declared:
        has = f"it has {', '.join(declared)}" if declared else "it has none"
        happened = f"DeepSeekModel {name} has no variant {variant}; {has}"
        return stalled(
            Condition.MODEL_READY, Reason.VARIANT_NOT_FOUND, with_remedy(Reason.VARIANT_NOT_FOUND, happened)
        ), None
    if any(each.name == variant and each.export is not None for each in model.spec.variants):
        happened = f"variant {variant} of DeepSeekModel {name} is an export, which no engine here serves"
        return stalled(
            Condition.MODEL_READY, Reason.VARIANT_NOT_SERVED, with_remedy(Reason.VARIANT_NOT_SERVED, happened)
        ), None
    wanted = variant or BASE
    artifact = next((each for each in model.status.artifacts if each.name == wanted), None)
    architecture = model.status.architecture
    if artifact is None or artifact.phase != "Ready" or artifact.digest is None or architecture is None:
        return _waiting(f"{wanted} of DeepSeekModel {name} is not sealed: {_why(model.status, artifact)}"), None
    if (unverified := obstacle(Condition.MODEL_READY, name, model.spec, model.status)) is not None:
        return unverified, None
    if (problem := service_problem(spec, architecture)) is not None:
        return stalled(Condition.MODEL_READY, *problem), None
    gate = judge(model.spec, model.status.artifacts, wanted)
    if gate is not None and gate.phase == "Blocked":
        message = with_remedy(Reason.GATE_BLOCKED, f"DeepSeekModel {name}: {explain(wanted, gate)}")
        return stalled(Condition.MODEL_READY, Reason.GATE_BLOCKED, message), None
    if gate is not None and gate.phase == "Pending":
        happened = f"{wanted} of DeepSeekModel {name} has a gate and is not measured yet"
        return _waiting(f"{happened}: {_why(model.status, None)}"), None
    served = ServedModel(model=name, variant=variant, digest=artifact.digest, claim=artifact.claim)
    found = Revision(
        served=served,
        claim=artifact.claim,
        context_length=context_length(spec, architecture),
        tensor_parallel=spec.parallelism.tensor,
        one_node=one_node(model.spec.storage.access_modes),
        cache=_cache(model.status, wanted, artifact.digest),
    )
    return holds(Condition.MODEL_READY, Reason.READY, f"{wanted} of {name}, digest {artifact.digest[:12]}."), found


def running(deployment: Object | None) -> Revision | None:
    """What a Deployment runs, so that it can be kept while nothing new is ready; None where it was edited by hand."""
    if deployment is None:
        return None
    template = deployment["spec"]["template"]["spec"]
    annotations = deployment["metadata"].get("annotations") or {}
    try:
        served = ServedModel.model_validate_json(annotations.get(Annotation.SERVING, ""))
        serve = ServeConfig.model_validate_json(_environment(template).get(SERVE_ENVIRONMENT, ""))
    except ValueError:  # put right once the model is ready
        return None
    claim = _mounted(template, MODEL_PATH)
    if serve.model_digest != served.digest or serve.context_length is None or claim is None:
        return None
    affinity = (template.get("affinity") or {}).get("podAffinity") or {}
    one_node = "requiredDuringSchedulingIgnoredDuringExecution" in affinity
    cache = _mounted(template, CACHE)
    served = served.model_copy(update={"claim": claim})
    return Revision(served, claim, serve.context_length, serve.tensor_parallel, one_node, cache)


def _mounted(template: Object, path: str) -> str | None:
    """The claim that the container has at a path."""
    names = [
        mount["name"]
        for container in template.get("containers") or ()
        for mount in container.get("volumeMounts") or ()
        if mount["mountPath"] == path
    ]
    claims = [
        str(volume["persistentVolumeClaim"]["claimName"])
        for volume in template.get("volumes") or ()
        if volume["name"] in names and "persistentVolumeClaim" in volume
    ]
    return claims[0] if len(claims) == 1 else None


def _cache(status: DeepSeekModelStatus, name: str, digest: str) -> str | None:
    """The claim that copies of an artifact lie on. It is mounted before the first is there: that waits for none."""
    kept = status.cache
    cached = kept is not None and any((each.name, each.digest) == (name, digest) for each in kept.artifacts)
    return kept.claim if kept is not None and cached else None


def _environment(template: Object) -> dict[str, str]:
    return {
        variable["name"]: variable.get("value", "")
        for container in template.get("containers") or ()
        for variable in container.get("env") or ()
    }


def _waiting(happened: str) -> Verdict:
    return pending(Condition.MODEL_READY, Reason.WAITING_FOR_MODEL, f"{happened}.")


def _why(status: DeepSeekModelStatus, artifact: ArtifactStatus | None) -> str:
    for condition in status.conditions:
        if condition.type == Condition.STALLED and condition.status == "True":
            return f"the model is stalled, {condition.reason}: {condition.message}".rstrip(".")
    phase = artifact.phase if artifact is not None else status.phase
    return f"it is {(phase or 'not looked at yet').lower()}"
