"""What the operator tells a pod that keeps a copy of an artifact on its node: one JSON document in the environment."""

from deepseek_runtime.wire.base import VERSION, WireModel
from deepseek_runtime.wire.paths import CACHE, INPUT, STATUS_PORT


class CacheConfig(WireModel):
    """One artifact, and where it is to be kept."""

    version: int = VERSION
    keeper: str  # for people: the model and which artifact of it
    digest: str  # of the artifact's manifest
    capacity: int  # bytes that all copies in this cache may take on the node
    input: str = INPUT
    cache: str = CACHE
    credential: str | None = None  # public key that requests for progress and metrics are checked with
    status_port: int = STATUS_PORT
