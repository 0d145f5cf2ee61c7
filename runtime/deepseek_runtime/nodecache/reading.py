"""The copy that an engine reads, if its node has one that is whole."""

import fcntl
import logging
import time
from pathlib import Path

from deepseek_runtime.nodecache.held import Held
from deepseek_runtime.wire.paths import RESULT_FILE

LOG = logging.getLogger(__name__)

_TRIES, _AGAIN_SECONDS = 3, 0.1
"""A copy that nobody keeps is locked for a moment while somebody looks whether it is to be evicted."""


def find(cache: Path, digest: str) -> Held | None:
    """The copy of this digest, held against eviction; None where there is none, at once and whatever is wrong."""
    place = cache / digest
    try:
        for _ in range(_TRIES):
            if not (place / RESULT_FILE).exists():
                return None
            held = Held.take(place, fcntl.LOCK_SH)
            if held is not None and held.whole:
                return held
            if held is not None:
                held.release()
            time.sleep(_AGAIN_SECONDS)
    except OSError as error:
        LOG.warning("the cache of this node cannot be read: %s", error)
    return None
