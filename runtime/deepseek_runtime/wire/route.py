"""`route/v1`: how the gateway reaches one InferenceService: a ConfigMap `route-<uid>` of the operator's namespace.

Only the operator can write there, so a tenant cannot point a name at a server of their own.
"""

from deepseek_runtime.wire.base import VERSION, WireModel

KEY = "route.json"  # in the ConfigMap's data
LABEL = "deepseek-operator.io/route"  # its label, with the value "v1"


class Route(WireModel):
    """`url` is the engine's root, for example http://chat.team-a.svc:8000."""

    version: int = VERSION
    namespace: str
    service: str
    uid: str
    workload: str  # whose key requests are signed with: wire.credential.workload
    url: str
    served_name: str
    ready: bool
    created: int  # seconds since 1970, for /v1/models
    context_length: int
    model: str  # for the audit record: the DeepSeekModel's name
    variant: str | None = None
    digest: str  # of the weights that answer
