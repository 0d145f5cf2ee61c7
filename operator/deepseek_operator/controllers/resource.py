"""Reading a live object: what it says, or the sentence that tells its author what is wrong with it."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import ValidationError

from deepseek_operator.api.base import ApiModel, CommonStatus
from deepseek_operator.api.names import Label
from deepseek_operator.controllers.decision import Object

Spec = TypeVar("Spec", bound=ApiModel)
Status = TypeVar("Status", bound=CommonStatus)


@dataclass(frozen=True, slots=True)
class Invalid:
    """Why a spec cannot be read."""

    message: str


@dataclass(frozen=True, slots=True)
class Seen(Generic[Spec, Status]):
    """Another resource, as far as it can be read."""

    name: str
    deleting: bool
    spec: Spec | None
    status: Status


def read_spec(model: type[Spec], resource: Object) -> Spec | Invalid:
    """The spec. The CRD's schema refuses most mistakes; one that was stored before the schema knew is found here."""
    try:
        return model.model_validate(resource.get("spec") or {})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(["spec", *(str(part) for part in first["loc"])])
        return Invalid(f"{where} is invalid: {first['msg']}. Correct it; `kubectl explain` describes every field.")


def read_status(model: type[Status], resource: Object) -> Status:
    """The status as written last. It is a cache: one that cannot be read is as good as none."""
    try:
        return model.model_validate(resource.get("status") or {})
    except ValidationError:
        return model()


def see(spec: type[Spec], status: type[Status], resource: Object) -> Seen[Spec, Status]:
    """Another resource, as far as it can be read."""
    found = read_spec(spec, resource)
    return Seen(
        resource["metadata"]["name"],
        "deletionTimestamp" in resource["metadata"],
        None if isinstance(found, Invalid) else found,
        read_status(status, resource),
    )


def first(pod: Object) -> bool:
    """Whether a pod is the one of its Job that knows how all of them stand, and seals: the only one, or index 0."""
    return bool((pod["metadata"].get("labels") or {}).get(Label.INDEX, "0") == "0")


def deleting(resource: Object) -> bool:
    """Whether an object is on its way out."""
    return "deletionTimestamp" in resource["metadata"]
