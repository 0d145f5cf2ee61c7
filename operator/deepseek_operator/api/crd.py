"""The CustomResourceDefinitions, from the models of spec and status."""

from dataclasses import dataclass
from typing import Any

from deepseek_operator.api.base import ApiModel, rules
from deepseek_operator.api.deepseekmodel.spec import DeepSeekModelSpec
from deepseek_operator.api.deepseekmodel.status import DeepSeekModelStatus
from deepseek_operator.api.inferenceservice import InferenceServiceSpec, InferenceServiceStatus
from deepseek_operator.api.names import GROUP, MAX_NAME, MODEL, PLURALS, SERVICE, TRAINING, VERSION
from deepseek_operator.api.schema import structural
from deepseek_operator.api.trainingrun import TrainingRunSpec, TrainingRunStatus

CATEGORY = "deepseek"

_NAME_RULES = (
    (f"self.metadata.name.size() <= {MAX_NAME}", f"metadata.name must have at most {MAX_NAME} characters"),
    ("!self.metadata.name.contains('.')", "metadata.name must have no dot: names of pods and claims are made of it"),
)
_SERVICE_NAME_RULE = (
    "self.metadata.name.matches('^[a-z]')",
    "metadata.name must begin with a letter: a Service is called by it",
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`; those of priority 1 are shown with `-o wide`."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0
    description: str = ""
    format: str | None = None

    def to_object(self) -> dict[str, Any]:
        """As it stands in the CRD."""
        optional = {"format": self.format, "description": self.description, "priority": self.priority}
        return {"name": self.name, "type": self.type, "jsonPath": self.path} | {k: v for k, v in optional.items() if v}


def _condition(type_: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{type_}")].{field}'


_READY = Column("Ready", _condition("Ready", "status"), description="Whether it can be used.")
_PHASE = Column("Phase", ".status.phase", description="Where it stands, in one word.")
_AGE = Column("Age", ".metadata.creationTimestamp", "date")
_WHY = (
    Column("Reason", _condition("Ready", "reason"), priority=1, description="Why it is ready or not."),
    Column("Message", _condition("Ready", "message"), priority=1, description="The same as a sentence."),
)


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of the API group and all that its CRD says."""

    kind: str
    short_name: str
    description: str
    spec: type[ApiModel]
    status: type[ApiModel]
    columns: tuple[Column, ...]
    selectable: tuple[str, ...] = ()
    scale: tuple[str, str, str] | None = None
    """Paths of the wanted replicas, the present replicas and the label selector."""
    name_rules: tuple[tuple[str, str], ...] = _NAME_RULES

    @property
    def plural(self) -> str:
        """The name in URLs and RBAC rules."""
        return PLURALS[self.kind]


RESOURCES = (
    Resource(
        kind=MODEL,
        short_name="dsm",
        description="DeepSeekModel is one model: where its weights come from, the proof of what they are, the quantized "
        "variants made of them and how well each predicts held-out text. Every artifact is sealed on a volume of its own.",
        spec=DeepSeekModelSpec,
        status=DeepSeekModelStatus,
        columns=(
            _READY,
            _PHASE,
            Column("Architecture", ".status.architecture.name", description="The class in config.json."),
            Column("Size", ".status.size", description="Of the base's files."),
            Column(
                "Parameters",
                ".status.architecture.parameters",
                "integer",
                1,
                "How many numbers the weights hold.",
                "int64",
            ),
            Column("Copies", ".status.cache.copies", priority=1, description="On nodes: ready of wanted ones."),
            Column("Cost", ".status.cost.summary", priority=1, description="What its Jobs have used and cost."),
            Column("Digest", ".status.digest", priority=1, description="SHA-256 of the base's manifest."),
            *_WHY,
            _AGE,
        ),
        selectable=(".spec.source.trainingRun.name", ".status.phase"),
    ),
    Resource(
        kind=TRAINING,
        short_name="dstr",
        description="TrainingRun trains a DeepSeekModel in ordered stages, once. It survives killed pods by its checkpoints "
        "and can publish its result as a new DeepSeekModel.",
        spec=TrainingRunSpec,
        status=TrainingRunStatus,
        columns=(
            _READY,
            _PHASE,
            Column("Stage", ".status.stage", description="The stage at work, or the last."),
            Column("Percent", ".status.percent", "integer", description="Of all steps of all stages."),
            Column("Loss", ".status.progress.loss", "number", description="Training loss of the last step."),
            Column("Remaining", ".status.progress.remaining", description="Time left of this stage."),
            Column("Base", ".spec.base.model", priority=1, description="The model that training starts from."),
            Column("Published", ".status.publishedModel", priority=1, description="The model that holds the result."),
            *_WHY,
            _AGE,
        ),
        selectable=(".spec.base.model", ".status.phase"),
    ),
    Resource(
        kind=SERVICE,
        short_name="dsis",
        description="InferenceService offers a DeepSeekModel to people: engine pods behind the gateway's OpenAI-compatible "
        "URL. Who may use it is RBAC: the verb `infer` on it.",
        spec=InferenceServiceSpec,
        status=InferenceServiceStatus,
        columns=(
            _READY,
            _PHASE,
            Column("Model", ".spec.model.name", description="What answers."),
            Column("Variant", ".spec.model.variant", description="Which variant of it; empty for the base."),
            Column("Replicas", ".spec.replicas", "integer", description="Pods wanted."),
            Column("Available", ".status.readyReplicas", "integer", description="Pods that can generate a token."),
            Column("URL", ".status.url", priority=1, description="The gateway's URL for OpenAI clients."),
            Column("Model-ID", ".status.modelId", priority=1, description="The `model` to ask for at the gateway."),
            *_WHY,
            _AGE,
        ),
        selectable=(".spec.model.name", ".status.phase"),
        scale=(".spec.replicas", ".status.replicas", ".status.selector"),
        name_rules=(*_NAME_RULES, _SERVICE_NAME_RULE),
    ),
)


def schema(resource: Resource) -> dict[str, Any]:
    """The schema of whole objects of this kind. `status` has a default, so that `observedGeneration` is -1 from the start."""
    return {
        "type": "object",
        "description": resource.description,
        "required": ["spec"],
        **rules(*resource.name_rules),
        "properties": {
            "apiVersion": {"type": "string", "description": f"Always {GROUP}/{VERSION}."},
            "kind": {"type": "string", "description": f"Always {resource.kind}."},
            "metadata": {"type": "object"},
            "spec": structural(resource.spec),
            "status": {**structural(resource.status), "default": {}},
        },
    }


def crd(resource: Resource) -> dict[str, Any]:
    """The CustomResourceDefinition."""
    subresources: dict[str, Any] = {"status": {}}
    if resource.scale:
        wanted, present, selector = resource.scale
        subresources["scale"] = {
            "specReplicasPath": wanted,
            "statusReplicasPath": present,
            "labelSelectorPath": selector,
        }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": [resource.short_name],
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [column.to_object() for column in resource.columns],
                    "selectableFields": [{"jsonPath": path} for path in resource.selectable],
                    "subresources": subresources,
                    "schema": {"openAPIV3Schema": schema(resource)},
                }
            ],
        },
    }
