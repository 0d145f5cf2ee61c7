"""What a run publishes: a DeepSeekModel, made once if there is none, and never touched again."""

from deepseek_operator.api.deepseekmodel.source import ModelSource, TrainingRunSource
from deepseek_operator.api.deepseekmodel.spec import DeepSeekModelSpec
from deepseek_operator.api.names import API_VERSION, MODEL, Condition, Reason
from deepseek_operator.api.trainingrun import PublishSpec
from deepseek_operator.controllers.conditions import Verdict, stalled
from deepseek_operator.controllers.decision import Child, Object, Observed, Ref
from deepseek_operator.controllers.remedies import with_remedy
from deepseek_operator.controllers.resource import Invalid, read_spec
from deepseek_operator.desired.labels import Owner


def publication(
    owner: Owner, publish: PublishSpec, published: str | None, observed: Observed
) -> tuple[Child | None, str | None, Verdict | None]:
    """The model to create, the name of the one that is there, and what stands in the way."""
    if published == publish.model:
        return None, published, None  # once is enough: a user who deletes it wants it gone
    seen = observed.references.get(Ref(MODEL, owner.namespace, publish.model))
    if seen is None:
        return Child(_model(owner, publish), create_only=True), published, None
    if _source(seen) == owner.name:
        return None, publish.model, None
    happened = f"DeepSeekModel {publish.model} of publish.model is there already with another source"
    message = with_remedy(Reason.NAME_TAKEN, happened)
    return None, published, stalled(Condition.STAGES_COMPLETE, Reason.NAME_TAKEN, message)


def _model(owner: Owner, publish: PublishSpec) -> Object:
    """Without an owner reference: the result stays when the run goes."""
    source = ModelSource(training_run=TrainingRunSource(name=owner.name))
    spec = {"source": source.to_object(), "storage": publish.storage.to_object()}
    metadata = {"name": publish.model, "namespace": owner.namespace}
    return {"apiVersion": API_VERSION, "kind": MODEL, "metadata": metadata, "spec": spec}


def _source(model: Object) -> str | None:
    spec = read_spec(DeepSeekModelSpec, model)
    if isinstance(spec, Invalid) or spec.source.training_run is None:
        return None
    return spec.source.training_run.name
