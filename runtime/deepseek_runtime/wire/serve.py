"""What the operator tells an engine: one JSON document in the environment, without any secret."""

from deepseek_runtime.wire.base import VERSION, WireModel
from deepseek_runtime.wire.paths import ENGINE_PORT, MODEL, STATUS_PORT


class ServeConfig(WireModel):
    """The builtin engine: `tensor_parallel` processes in one pod, one of them with the HTTP server."""

    version: int = VERSION
    owner: str
    served_name: str  # the name in /v1/models and in answers
    model: str = MODEL
    model_digest: str | None = None  # checked at load; None only without a cluster
    cache: str | None = None  # the node's copies: one of this digest is read in place of `model`
    tensor_parallel: int = 1
    context_length: int | None = None  # None: the model's own
    max_sequences: int = 32  # requests in one batch
    cache_tokens: int = 32768  # token slots of the paged cache
    dtype: str = "auto"
    credential: str | None = (
        None  # public key that requests to both ports are checked with; None: open (without a cluster)
    )
    port: int = ENGINE_PORT
    status_port: int = STATUS_PORT
