"""The kinds that the shell reads and writes, and where the API serves them."""

from dataclasses import dataclass

from deepseek_operator.api.names import API_VERSION, MODEL, PLURALS, SELECTOR, SERVICE, TRAINING


@dataclass(frozen=True, slots=True)
class Kind:
    """Where one kind is served."""

    name: str
    api_version: str
    plural: str
    selector: str | None = None

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version without the group."""
        return self.api_version.rpartition("/")[2]

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """The URL path of one object, or of the collection; without a namespace, of all namespaces."""
        parts = ["/apis" if self.group else "/api", self.api_version]
        if namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


RESOURCES = tuple(Kind(name, API_VERSION, PLURALS[name]) for name in (MODEL, TRAINING, SERVICE))
POD = Kind("Pod", "v1", "pods", SELECTOR)
ROUTES = Kind("ConfigMap", "v1", "configmaps", SELECTOR)
"""ConfigMaps are watched in the operator's own namespace only: the routes of the gateway."""
CHILDREN = (
    Kind("Job", "batch/v1", "jobs", SELECTOR),
    POD,
    Kind("PersistentVolumeClaim", "v1", "persistentvolumeclaims", SELECTOR),
    Kind("Deployment", "apps/v1", "deployments", SELECTOR),
    Kind("DaemonSet", "apps/v1", "daemonsets", SELECTOR),
    Kind("Service", "v1", "services", SELECTOR),
    Kind("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies", SELECTOR),
)
WATCHED = (*RESOURCES, *CHILDREN, ROUTES)

NAMESPACE = Kind("Namespace", "v1", "namespaces")
LEASE = Kind("Lease", "coordination.k8s.io/v1", "leases")
SECRET = Kind("Secret", "v1", "secrets")
EVENT = Kind("Event", "events.k8s.io/v1", "events")
CORE_EVENT = Kind("Event", "v1", "events")
"""The older view of the same events: the only one that can be selected by the object they concern."""

KINDS = {kind.name: kind for kind in (*WATCHED, NAMESPACE, LEASE, SECRET, EVENT)}
