"""Sealing a result on its volume, so that whatever is killed, it is there whole or not at all.

A place (an artifact volume, a stage's or an evaluation's directory) is written in this order: files under
`.partial-<identity>/`, fsync, rename to `artifact/`, `evaluations/`, and `result.json` with the identity last. Only
`result.json` counts: whatever else is found without it was left by a crash and is made again.
"""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from deepseek_runtime.job.errors import DataError
from deepseek_runtime.weights import facts, manifest
from deepseek_runtime.wire.paths import ARTIFACT, EVALUATIONS, IMAGE_ENVIRONMENT, RESULT_FILE
from deepseek_runtime.wire.result import JobResult, decode

PREFIX = ".partial-"


def partial(output: Path, identity: str) -> Path:
    """An empty directory of this place to write the artifact into; what crashed attempts left is removed."""
    output.mkdir(parents=True, exist_ok=True)
    for path in output.glob(f"{PREFIX}*"):
        _remove(path)
    directory = output / f"{PREFIX}{identity}"
    directory.mkdir()
    return directory


def resume(output: Path, identity: str) -> Path:
    """The partial directory of this work as an attempt that was killed left it, or an empty one."""
    kept, renamed = output / f"{PREFIX}{identity}", output / ARTIFACT
    for path in output.glob(f"{PREFIX}*"):
        if path != kept:
            _remove(path)
    if renamed.exists() and not kept.exists():
        renamed.rename(kept)  # killed between the renaming and its result.json
    return share(output, identity)


def share(output: Path, identity: str) -> Path:
    """The partial directory of this work for one of several processes that write files of their own into it."""
    directory = output / f"{PREFIX}{identity}"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def leave(output: Path, identity: str) -> None:
    """Remove the partial directory where another process has sealed the result meanwhile."""
    if (output / RESULT_FILE).exists():
        shutil.rmtree(output / f"{PREFIX}{identity}", ignore_errors=True)


def attach(output: Path, name: str, text: str) -> None:
    """Make a file beside the result durable; written before `seal`, it counts once that has sealed the result."""
    output.mkdir(parents=True, exist_ok=True)
    temporary = output / f".{name}"
    temporary.write_text(text, "utf-8")
    _sync(temporary)
    temporary.rename(output / name)


def seal(output: Path, identity: str, result: JobResult) -> JobResult:
    """Make the partial artifact, if there is one, and the result durable; returns the result as it is sealed.

    `started_at`, `finished_at` and `image` are filled in. Once this returns, a power failure loses nothing.
    """
    output.mkdir(parents=True, exist_ok=True)
    written = output / f"{PREFIX}{identity}"
    if written.exists():
        _sync_tree(written)
        if (output / ARTIFACT).exists():  # of an attempt that died before its result.json
            _remove(output / ARTIFACT)
        written.rename(output / ARTIFACT)
        (output / EVALUATIONS).mkdir(exist_ok=True)
        _sync(output)
    provenance = {
        "started_at": result.started_at or STARTED,
        "finished_at": now(),
        "image": os.environ.get(IMAGE_ENVIRONMENT),
    }
    sealed_result = result.model_copy(update=provenance)
    temporary = output / f".{RESULT_FILE}"
    temporary.write_text(sealed_result.to_json() + "\n", "utf-8")
    _sync(temporary)
    temporary.rename(output / RESULT_FILE)
    _sync(output)
    return sealed_result


def sealed(output: Path, identity: str) -> JobResult | None:
    """The result that is sealed here, marked `cached`; None where nothing is.

    Errors: DataError `SealedByOther` where the result has another identity, `SealBroken` where it cannot be what was
    sealed. The files themselves are checked by those who use them.
    """
    path = output / RESULT_FILE
    try:
        result = decode(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        result = None
    if result is None or result.outcome != "succeeded":
        raise DataError("SealBroken", f"{path} is not a result. Delete the volume's claim to have it made again.")
    if result.identity != identity:
        raise DataError(
            "SealedByOther",
            f"{path} seals the work {result.identity}, this Job is {identity}. Use a volume of its own for each work.",
        )
    written = result.artifact or result.dataset
    if written is None:
        return result.model_copy(update={"cached": True})
    listed = manifest.read(output / ARTIFACT)
    if listed.digest != written.digest:
        raise DataError(
            "SealBroken",
            f"{output / ARTIFACT} is not what {path} sealed ({written.digest}). "
            "Delete the volume's claim to have it made again.",
        )
    artifact = facts.completed(result.artifact, output / ARTIFACT, listed) if result.artifact else None
    return result.model_copy(update={"cached": True, "artifact": artifact})


def now() -> str:
    """The time as RFC 3339, UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


STARTED = now()
"""When this process began: the module is among the first that a Job imports."""


def _sync_tree(directory: Path) -> None:
    for parent, _, files in os.walk(directory):
        for name in files:
            _sync(Path(parent) / name)
        _sync(Path(parent))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
