"""The Authorization header: an API key, or a Kubernetes token."""

from deepseek_runtime.gateway.access.caller import Caller
from deepseek_runtime.gateway.access.keys import KeyAuthenticator
from deepseek_runtime.gateway.access.tokens import TokenAuthenticator, looks_like_one
from deepseek_runtime.gateway.kube.client import KubernetesError, UnreachableError
from deepseek_runtime.gateway.openai.errors import unauthenticated, unavailable
from deepseek_runtime.wire import api_key


class Authenticator:
    """Proves who sends a request."""

    def __init__(self, keys: KeyAuthenticator, tokens: TokenAuthenticator) -> None:
        self._keys = keys
        self._tokens = tokens

    async def authenticate(self, authorization: str | None) -> Caller:
        """The caller; errors: ApiError 401, or 503 where the API server cannot be asked."""
        if not authorization:
            raise unauthenticated("You didn't provide an API key. Send it in the header 'Authorization: Bearer KEY'.")
        scheme, _, credential = authorization.partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer" or not credential or not credential.isascii():
            raise unauthenticated("The Authorization header must be 'Bearer KEY'.")
        try:
            if credential.startswith(f"{api_key.PREFIX}."):
                return await self._keys.authenticate(credential)
            if looks_like_one(credential):
                return await self._tokens.authenticate(credential)
        except (UnreachableError, KubernetesError) as error:
            raise unavailable(
                "The credential cannot be checked now; try again.", "authentication_unavailable"
            ) from error
        raise unauthenticated(
            "Incorrect API key provided: it is neither an API key (dsk.NAMESPACE.NAME.SECRET) nor a Kubernetes token."
        )
