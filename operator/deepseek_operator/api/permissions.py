"""What the operator, the gateway and people may do: the one table that the chart's roles are rendered from.

Neither operator nor gateway has a verb on a tenant's Secrets.
"""

from dataclasses import dataclass
from typing import Any

from deepseek_operator.api.names import GROUP, MODEL, PLURALS, SERVICE

MASTER_SECRET = "deepseek-operator-master"  # noqa: S105 a name
"""The Secret of the operator's namespace that holds the key which workloads' credentials are derived from."""

INFER = "infer"
"""The verb that the gateway asks for: may this caller use this InferenceService?"""


@dataclass(frozen=True, slots=True)
class Grant:
    """Verbs on resources of one API group, and what they are needed for."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    reason: str
    names: tuple[str, ...] = ()

    def to_rule(self) -> dict[str, Any]:
        """As an RBAC PolicyRule."""
        rule: dict[str, Any] = {"apiGroups": [self.group], "resources": list(self.resources)}
        if self.names:
            rule["resourceNames"] = list(self.names)
        return {**rule, "verbs": list(self.verbs)}


_KINDS = tuple(PLURALS.values())
_READ = ("get", "list", "watch")
_MAKE = (*_READ, "create", "patch")
"""For children that go with their owner, by the garbage collector."""

OPERATOR_TENANTS = (
    Grant(GROUP, _KINDS, _READ, "the three resources"),
    Grant(GROUP, tuple(f"{kind}/status" for kind in _KINDS), ("patch",), "what is, never what is wanted"),
    Grant(
        GROUP,
        tuple(f"{kind}/finalizers" for kind in _KINDS),
        ("update",),
        "owner references that block deletion, where OwnerReferencesPermissionEnforcement is on",
    ),
    Grant(GROUP, (PLURALS[MODEL],), ("create", "patch"), "publishing, and the in-use finalizer"),
    Grant("batch", ("jobs",), (*_MAKE, "delete"), "work; what is no longer wanted is stopped"),
    Grant(
        "", ("persistentvolumeclaims",), (*_MAKE, "delete"), "artifacts and checkpoints, until newer ones are sealed"
    ),
    Grant("apps", ("deployments",), _MAKE, "engines"),
    Grant("apps", ("daemonsets",), (*_MAKE, "delete"), "copies on nodes; gone when no longer wanted"),
    Grant("", ("services",), _MAKE, "engines' addresses, and host names for training pods"),
    Grant(
        "networking.k8s.io",
        ("networkpolicies",),
        (*_MAKE, "delete"),
        "who may talk to the pods; gone when the chart's value says so",
    ),
    Grant("", ("pods",), _READ, "why a child is in trouble, and where progress is read"),
    Grant("", ("events",), ("list",), "warnings about children: what a pod's status does not show"),
    Grant("events.k8s.io", ("events",), ("create", "patch"), "events about the three resources"),
    Grant("", ("namespaces",), ("get",), "nothing is made in a namespace that is terminating"),
)

OPERATOR_NAMESPACE = (
    Grant("", ("configmaps",), (*_MAKE, "delete"), "the gateway's routes"),
    Grant("coordination.k8s.io", ("leases",), ("get", "create", "patch"), "leader election"),
    Grant("", ("secrets",), ("create",), "the master key, made at the first start"),
    Grant("", ("secrets",), ("get",), "the master key, at every later start", names=(MASTER_SECRET,)),
)

OPERATOR_UNINSTALL = (Grant(GROUP, (PLURALS[MODEL],), ("list", "patch"), "letting go of models that are in use"),)

GATEWAY_TENANTS = (Grant("", ("configmaps",), ("get",), "an API key's hash, by the name that the key carries"),)

GATEWAY_CLUSTER = (
    Grant("authentication.k8s.io", ("tokenreviews",), ("create",), "callers with a Kubernetes token"),
    Grant("authorization.k8s.io", ("subjectaccessreviews",), ("create",), "whether a caller may use a service"),
)

GATEWAY_NAMESPACE = (Grant("", ("configmaps",), ("list", "watch"), "the operator's routes"),)

USER_VIEW = (Grant(GROUP, _KINDS, ("get", "list", "watch"), "reading"),)

USER_EDIT = (
    Grant(GROUP, _KINDS, ("create", "update", "patch", "delete", "deletecollection"), "changing"),
    Grant(GROUP, (f"{PLURALS[SERVICE]}/scale",), ("get", "update", "patch"), "kubectl scale and autoscalers"),
)

USER_INFER = (Grant(GROUP, (PLURALS[SERVICE],), (INFER,), "using services through the gateway"),)

ROLES = {
    "operator.tenants": OPERATOR_TENANTS,
    "operator.namespace": OPERATOR_NAMESPACE,
    "operator.uninstall": OPERATOR_UNINSTALL,
    "gateway.tenants": GATEWAY_TENANTS,
    "gateway.cluster": GATEWAY_CLUSTER,
    "gateway.namespace": GATEWAY_NAMESPACE,
    "user.view": USER_VIEW,
    "user.edit": USER_EDIT,
    "user.infer": USER_INFER,
}
"""Every list of rules by the name of its template in the chart: `tenants` holds in all namespaces or in the watched ones,
`namespace` in the release's own, `cluster` for what has no namespace."""
