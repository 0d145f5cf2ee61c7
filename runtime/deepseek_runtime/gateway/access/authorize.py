"""May this caller use this service? RBAC decides, by SubjectAccessReview."""

from dataclasses import dataclass

from deepseek_runtime.gateway.access.cache import AnswerCache
from deepseek_runtime.gateway.access.caller import Caller
from deepseek_runtime.gateway.kube.client import KubernetesClient, KubernetesError, UnreachableError
from deepseek_runtime.gateway.openai.errors import ApiError, forbidden, unavailable

GROUP = "deepseek-operator.io"
RESOURCE = "inferenceservices"
VERB = "infer"


@dataclass(frozen=True, slots=True)
class Decision:
    """`cached` and `stale` as in the audit record: how fresh the answer was that this decision rests on."""

    allowed: bool
    cached: bool = False
    stale: bool = False


class Authorizer:
    """Asks once in 30 s for each caller and service; after a denial in 5 s, so that a new RoleBinding works soon."""

    def __init__(self, client: KubernetesClient, stale_seconds: float) -> None:
        self._client = client
        self._cache: AnswerCache[tuple[object, ...], bool] = AnswerCache(bool, stale_seconds)

    async def authorize(self, caller: Caller, namespace: str, service: str) -> Decision:
        """The decision; errors: ApiError 503 where the API server cannot be asked and no recent allow is known."""

        async def ask() -> bool:
            status = await self._client.review(
                "authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview", _spec(caller, namespace, service)
            )
            return status.get("allowed") is True and not status.get("denied")

        key = (caller.user, caller.uid, caller.groups, caller.extra, namespace, service)
        try:
            found = await self._cache.get(key, ask)
        except (UnreachableError, KubernetesError) as error:
            raise unavailable("Access cannot be checked now; try again.", "authorization_unavailable") from error
        return Decision(found.value, found.cached, found.stale or caller.stale)


def _spec(caller: Caller, namespace: str, service: str) -> dict[str, object]:
    return {
        "user": caller.user,
        "groups": list(caller.groups),
        "uid": caller.uid,
        "extra": {name: list(values) for name, values in caller.extra},
        "resourceAttributes": {
            "verb": VERB,
            "group": GROUP,
            "resource": RESOURCE,
            "namespace": namespace,
            "name": service,
        },
    }


def missing_role_binding(caller: Caller, namespace: str, service: str) -> ApiError:
    """403 with the remedy. Only for a caller of that same namespace: to others the service does not exist."""
    return forbidden(
        f"{caller.user} may not use {namespace}/{service}. Missing: a RoleBinding in namespace {namespace} that gives "
        f"{caller.user} a Role with verb '{VERB}' on {RESOURCE}.{GROUP} '{service}'."
    )
