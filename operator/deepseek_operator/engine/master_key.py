"""The key that workloads' credentials are derived from: made once, kept in a Secret of the operator's own namespace."""

import base64
import secrets

from deepseek_operator.api.permissions import MASTER_SECRET
from deepseek_operator.controllers.decision import Ref
from deepseek_operator.engine import errors
from deepseek_operator.engine.api import Api

FIELD = "master"
BYTES = 32


async def master_key(api: Api, namespace: str) -> bytes:
    """The key; two operators that start at once agree on one."""
    ref = Ref("Secret", namespace, MASTER_SECRET)
    try:
        secret = await api.get(ref)
    except errors.NotFoundError:
        new = base64.b64encode(secrets.token_bytes(BYTES)).decode()
        try:
            secret = await api.create(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": ref.name, "namespace": namespace},
                    "type": "Opaque",
                    "immutable": True,
                    "data": {FIELD: new},
                }
            )
        except errors.ConflictError:
            secret = await api.get(ref)
    key = base64.b64decode((secret.get("data") or {}).get(FIELD, ""))
    if len(key) < BYTES:
        raise RuntimeError(
            f"Secret {namespace}/{MASTER_SECRET} has no key of {BYTES} bytes under {FIELD!r}: delete it and start again"
        )
    return key
