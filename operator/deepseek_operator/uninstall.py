"""`python -m deepseek_operator.uninstall`: takes the operator's finalizers off all models, when the operator is gone.

The chart runs it after `helm uninstall`: a model that was in use could otherwise never be deleted again.
"""

import asyncio
import logging
import os
import sys

from deepseek_operator.api.names import GROUP, MODEL
from deepseek_operator.controllers.decision import Ref
from deepseek_operator.engine import connection as connections
from deepseek_operator.engine import errors
from deepseek_operator.engine.api import Api
from deepseek_operator.engine.client import Client
from deepseek_operator.engine.connection import CONNECTIONS, Connection
from deepseek_operator.engine.kinds import KINDS
from deepseek_operator.engine.planner import finalizers_patch

log = logging.getLogger(__name__)

_ATTEMPTS = 5


async def release_all(api: Api, namespaces: tuple[str, ...]) -> int:
    """Release the models of some namespaces, or of all where none is named; how many were held."""
    released = 0
    for namespace in namespaces or ("",):
        try:
            models = await api.list_metadata(KINDS[MODEL], namespace)
        except errors.NotFoundError:  # the definition went with the chart, and the models with it
            continue
        for model in models:
            present = model["metadata"].get("finalizers") or []
            kept = [name for name in present if not name.startswith(f"{GROUP}/")]
            if kept != present:
                meta = model["metadata"]
                await api.patch(Ref(MODEL, meta["namespace"], meta["name"]), finalizers_patch(model, kept))
                released += 1
    return released


async def run(connection: Connection, namespaces: tuple[str, ...]) -> None:
    """Release all; what changes meanwhile is tried again."""
    async with connection.session(CONNECTIONS) as session:
        client = Client(session, connection.server)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                released = await release_all(client, namespaces)
            except (errors.ConflictError, errors.NotFoundError) as error:
                if attempt == _ATTEMPTS:
                    raise
                log.info("once more: %s", error)
                await asyncio.sleep(1)
            else:
                log.info("%d models released", released)
                return


def main() -> int:
    """The process's exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    watched = os.environ.get("DEEPSEEK_WATCH_NAMESPACES", "")
    asyncio.run(run(connections.discover(), tuple(part for part in watched.split(",") if part)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
