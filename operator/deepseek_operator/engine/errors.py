"""What the API server answered when it did not do what it was asked."""

from typing import Any


class ApiError(Exception):
    """A refusal, as its `Status` object has it; status 0 where no answer came."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        retry_after: float | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.details = details or {}

    @property
    def namespace_terminating(self) -> bool:
        """Whether the object's namespace is going away, so that nothing can be created in it any more."""
        return any(cause.get("reason") == "NamespaceTerminating" for cause in self.details.get("causes", ()))

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed later though nobody changes anything."""
        return self.status in {0, 404, 408, 409, 429} or self.status >= 500


class NotFoundError(ApiError):
    """404."""


class ConflictError(ApiError):
    """409: the object exists already, or a precondition does not hold."""


class ForbiddenError(ApiError):
    """403: RBAC, a quota, an admission policy, or a namespace that terminates."""


class InvalidError(ApiError):
    """400 or 422: the object breaks the schema."""


_BY_STATUS = {400: InvalidError, 403: ForbiddenError, 404: NotFoundError, 409: ConflictError, 422: InvalidError}


def from_status(code: int, body: dict[str, Any], retry_after: float | None = None) -> ApiError:
    """The error of an answer; `body` is its `Status` object."""
    return _BY_STATUS.get(code, ApiError)(
        code, body.get("reason") or "Unknown", body.get("message") or "no message", retry_after, body.get("details")
    )


class OwnedByOtherError(Exception):
    """An object of the wanted name is there, and it is not this resource's."""
