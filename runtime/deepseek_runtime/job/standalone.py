"""Jobs without a cluster: what the operator would fill in is worked out from the files that are there."""

import json
from pathlib import Path
from typing import Any

from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.weights import manifest
from deepseek_runtime.wire.base import digest
from deepseek_runtime.wire.job import algorithm

OWNER = "local"


def complete(text: str) -> str:
    """A Job's document with `owner`, `inputDigest`, `baseDigest` and `identity` filled in where they are missing.

    The identity is a digest of everything but `output`, so that the same document finds its sealed result again.
    Without a digest the input is what its own manifest says. Errors: ConfigurationError, DataError.
    """
    try:
        job = json.loads(text)
    except ValueError as error:
        raise ConfigurationError("InvalidConfig", f"The Job's document is not JSON: {error}.") from error
    if not isinstance(job, dict):
        raise ConfigurationError("InvalidConfig", "The Job's document is not a JSON object.")
    job.setdefault("owner", OWNER)
    for directory, known in (("input", "inputDigest"), ("base", "baseDigest")):
        if directory in job and known not in job:
            job[known] = manifest.read(Path(str(job[directory]))).digest
    job.setdefault("identity", _identity(job))
    return json.dumps(job)


def _identity(job: dict[str, Any]) -> str:
    places = ("output", "owner", "input", "base", "credential")
    inputs = {name: value for name, value in job.items() if name not in places}
    return digest({"algorithm": algorithm(str(job.get("kind")), job), **inputs})
