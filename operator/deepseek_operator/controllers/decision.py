"""The one shape of a controller: `decide(resource, observed, now, settings) -> Decision`.

Everything a decision may know is an argument, everything it wants done is in its result. It performs no I/O, reads no
clock and keeps no memory, so a crash at any point and a decision made again give the same end.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from deepseek_runtime.wire.progress import Progress

from deepseek_operator.api.price_sheet import PriceSheet

Object = dict[str, Any]
"""A Kubernetes object as JSON has it; never changed by a decision."""


@dataclass(frozen=True, slots=True)
class Ref:
    """An object by kind, namespace and name. The kinds this operator knows are unique without their groups."""

    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, obj: Object) -> "Ref":
        """The reference of an object that carries its kind."""
        meta = obj["metadata"]
        return cls(obj["kind"], meta.get("namespace", ""), meta["name"])

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Warning:  # noqa: A001 the field's own word: an Event of type Warning
    """A Warning event that Kubernetes reported about a child: what a pod's status does not show."""

    reason: str
    message: str
    time: str


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A working pod did not answer on its status port."""

    since: datetime
    error: str


@dataclass(frozen=True, slots=True)
class Observed:
    """What the shell knows at one moment. A missing object means "not seen", never "does not exist"."""

    children: tuple[Object, ...] = ()
    """Objects with this resource's owner labels, of every kind but Pod: Jobs, claims, Deployments, Services, routes,
    NetworkPolicies.

    Jobs come without their pod template, which can never change.
    """
    pods: tuple[Object, ...] = ()
    """Pods with this resource's owner labels; of their spec, `volumes`, `nodeName`, `nodeSelector` and resources."""
    references: Mapping[Ref, Object] = field(default_factory=dict)
    """Those of `Controller.references` that were seen."""
    referrers: tuple[Object, ...] = ()
    """Resources that name this one in their references."""
    warnings: Mapping[str, tuple[Warning, ...]] = field(default_factory=dict)
    """Warning events by the UID of the child they concern, newest last; fetched only for children in trouble."""
    progress: Mapping[str, Progress | Unreachable] = field(default_factory=dict)
    """The last answer of each working pod, by the pod's name."""
    namespace_terminating: bool = False

    def child(self, kind: str, name: str) -> Object | None:
        """The child of this kind and name, if it was seen."""
        for obj in self.children:
            if obj["kind"] == kind and obj["metadata"]["name"] == name:
                return obj
        return None

    def of_kind(self, kind: str) -> tuple[Object, ...]:
        """All children of a kind."""
        return tuple(obj for obj in self.children if obj["kind"] == kind)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the administrator chose in the chart's values, and the master key that credentials are derived from."""

    namespace: str
    runtime_image: str
    gateway_url: str
    master_key: bytes = field(repr=False)
    image_pull_policy: str = "IfNotPresent"
    cluster_domain: str = "cluster.local"
    network_policies: bool = True
    fetch_networks: tuple[str, ...] = ()
    """Private networks (CIDR) that fetch Jobs may connect to."""
    price_sheet: PriceSheet | None = None


@dataclass(frozen=True, slots=True)
class Child:
    """An object that should exist.

    Applied (server-side) whenever it differs from what is seen; with `create_only` it is only ever created, and of its
    fields just those at the paths in `adjust` are brought in line afterwards. One that `follows` is needed by nobody
    before pods run, and is made after the rest.
    """

    manifest: Object
    create_only: bool = False
    adjust: tuple[tuple[str, ...], ...] = ()
    follows: bool = False

    @property
    def ref(self) -> Ref:
        """Where the object lives."""
        return Ref.of(self.manifest)


@dataclass(frozen=True, slots=True)
class Remove:
    """One object that must go, and why. The UID is a precondition: only what was seen can be removed."""

    ref: Ref
    uid: str
    reason: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell the user about the resource."""

    type: Literal["Normal", "Warning"]
    reason: str
    note: str
    action: str
    related: Ref | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What should be. Whatever is not in `remove` stays, seen or not."""

    children: tuple[Child, ...] = ()
    remove: tuple[Remove, ...] = ()
    status: Object = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    wake_after: float | None = None
    """Seconds until this should be decided again though nothing changes."""
    finalizers: frozenset[str] = frozenset()
    """Which of the operator's own finalizers the resource should have now."""
    volatile: frozenset[str] = frozenset()
    """Top-level status fields that hold live figures: a change of these alone may be written late."""


class Controller(Protocol):
    """One kind of resource."""

    kind: str

    def references(self, resource: Object) -> frozenset[Ref]:
        """Other resources whose state this one's decision reads."""
        ...

    def decide(self, resource: Object, observed: Observed, now: datetime, settings: Settings) -> Decision:
        """What should be, for a resource that exists (it may be on its way out: `metadata.deletionTimestamp`)."""
        ...

    def orphaned(self, ref: Ref, observed: Observed) -> tuple[Remove, ...]:
        """What must go after the resource is gone and garbage collection cannot reach: children in other namespaces."""
        ...
