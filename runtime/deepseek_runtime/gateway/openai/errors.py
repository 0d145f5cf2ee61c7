"""OpenAI's error object, and the errors that a caller can meet.

Source: OpenAI API reference, "Error codes"; the object is `{"error": {"message", "type", "param", "code"}}`.
"""

from typing import Any

import orjson
from aiohttp import web


class ApiError(Exception):
    """Ends a request with an error object; the message says what is wrong and what to do."""

    def __init__(
        self,
        status: int,
        code: str | None,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.kind = kind
        self.param = param
        self.headers = headers or {}

    def document(self) -> dict[str, Any]:
        """The error object, also as it stands in an event stream."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}

    def response(self) -> web.Response:
        """The error as a whole answer."""
        return web.Response(
            status=self.status,
            body=orjson.dumps(self.document()),
            content_type="application/json",
            headers=self.headers,
        )


def unauthenticated(message: str, code: str = "invalid_api_key") -> ApiError:
    """401, with the scheme that is asked for (RFC 9110 section 11.6.1)."""
    return ApiError(401, code, message, headers={"WWW-Authenticate": 'Bearer realm="deepseek-gateway"'})


def forbidden(message: str) -> ApiError:
    """403: known, and not allowed."""
    return ApiError(403, "insufficient_permissions", message, kind="permission_error")


def model_not_found(model: str, hint: str = "") -> ApiError:
    """404, in the same words whether the model is not there or not theirs to see."""
    message = f"The model {model!r} does not exist or you do not have access to it.{hint}"
    return ApiError(404, "model_not_found", message, param="model")


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """400: the request itself is wrong."""
    return ApiError(400, code, message, param=param)


def unavailable(message: str, code: str, retry_after: int = 5) -> ApiError:
    """503: the same request may succeed soon."""
    return ApiError(503, code, message, kind="service_unavailable", headers={"Retry-After": str(retry_after)})


def bad_upstream(message: str, status: int = 502, code: str = "upstream_error") -> ApiError:
    """502 or 504: the engine failed or took too long."""
    return ApiError(status, code, message, kind="api_error")
