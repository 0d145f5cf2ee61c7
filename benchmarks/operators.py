"""What the tool has to know of an operator to measure it; `benchmarks.deepseek` describes our own."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.client import Client, Collection

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """An edit of a resource (a JSON merge patch), and how a child shows that it has arrived."""

    patch: Object
    arrived: Callable[[Object], bool]


@dataclass(frozen=True, slots=True)
class Subject:
    """One kind of resource: how to make one, and what the operator makes of it first.

    A child is recognised by its owner reference.
    """

    kind: str
    collection: Collection
    template: Callable[[str, str], Object]
    """A resource of this namespace and name."""
    child: Collection
    made: Sequence[Collection]
    """The kinds of all its children."""
    children: Callable[[Client, Object], Awaitable[Sequence[tuple[Collection, Object]]]]
    """All that the operator makes at first of a resource as the server returned it: what a bare writer has to make."""
    change: Callable[[Object], Change]
    """What to edit in a resource, as it was made, so that a child of the watched kind has to change."""
    weight: int = 1
    """Its share among the resources of a large cluster."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How to damage a child, and how to see that it is repaired."""

    child: Collection
    patch: Object
    repaired: Callable[[Object], bool]


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator: what it needs, how it is started, what it is measured with."""

    name: str
    account: str
    """Its ServiceAccount, `namespace:name`: its requests are counted by it."""
    chart: Path | None
    command: Sequence[str]
    environment: Callable[[Path, int], dict[str, str]]
    """From a kubeconfig and a free port on which readiness is asked."""
    ready: str
    """The URL path that answers 200 when it is ready."""
    subjects: Sequence[Subject]
    drift: Drift | None = None
    prepare: Callable[[Client, str], Awaitable[None]] | None = None
    """Makes what the resources of a namespace need; the operator is running."""
    ignored: frozenset[str] = field(default_factory=lambda: frozenset({"leases"}))
    """Written resources that are no answer to anything."""
