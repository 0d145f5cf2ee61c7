"""What the shell asks of the API server; `client.Client` does it over HTTP, the fault tier's world in memory."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from deepseek_operator.controllers.decision import Object, Ref
from deepseek_operator.engine.kinds import Kind


class Api(Protocol):
    """Every call raises `errors.ApiError` (or a subclass) where the server refuses, and is safe to repeat."""

    async def get(self, ref: Ref) -> Object:
        """The live object."""
        ...

    async def create(self, obj: Object) -> Object:
        """POST; a name that is taken raises `ConflictError`."""
        ...

    async def apply(self, obj: Object, *, force: bool, subresource: str = "") -> Object:
        """Server-side apply. Without `force`, a field that another manager owns raises `ConflictError`.

        A `uid` or `resourceVersion` in the object is a precondition on one that exists; it does not keep an absent one
        with a `resourceVersion` from being made.
        """
        ...

    async def patch(self, ref: Ref, patch: dict[str, Any]) -> Object:
        """JSON merge patch (RFC 7396); a `resourceVersion` or `uid` in it is a precondition."""
        ...

    async def delete(self, ref: Ref, uid: str) -> None:
        """Delete in the background, if the object still has this UID."""
        ...

    async def list_metadata(self, kind: Kind, namespace: str) -> Sequence[Object]:
        """Namespace, name, UID, version and finalizers (in `metadata`) of all watched objects of a kind.

        An empty namespace means all.
        """
        ...

    def warnings(self, namespace: str, uid: str | None = None) -> AsyncIterator[Object]:
        """The core/v1 Events of type Warning about one object, or about all of a namespace."""
        ...
