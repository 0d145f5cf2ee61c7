"""Where each Job seals its result, and that only one process writes there."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepseek_runtime.job.errors import JobError
from deepseek_runtime.wire.job import Beside, Job, QuantizeJob, TrainJob
from deepseek_runtime.wire.paths import INDEX_ENVIRONMENT, STAGES

LOCK_FILE = ".lock"


def place(job: Job) -> Path:
    """The directory that holds this Job's `result.json`."""
    output = Path(job.output)
    if isinstance(job, Beside):
        return output / job.identity
    if isinstance(job, TrainJob):
        return output / STAGES / job.stage
    return output


def pod_index(job: Job) -> int:
    """Which of the Job's pods this is; the first, 0, is the one that seals."""
    several = (isinstance(job, TrainJob) and job.nodes > 1) or (isinstance(job, QuantizeJob) and job.pods > 1)
    return int(os.environ.get(INDEX_ENVIRONMENT, "0")) if several else 0


@contextmanager
def exclusive(directory: Path, patience: float = 20.0, index: int = 0) -> Iterator[None]:
    """Holds the directory for this process; the kernel lets go when the process dies, however it dies.

    Of several pods that write files of their own there, each holds what is its `index`'s.

    A pod that a lost node still runs may write beside its replacement, and both would write the same files. Raises
    JobError `VolumeBusy` after `patience` seconds. Volumes without locks (some network file systems) count as free.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / (f"{LOCK_FILE}.{index}" if index else LOCK_FILE)).open("w") as file:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise JobError(
                        "VolumeBusy",
                        f"Another process writes to {directory}. This Job is tried again when it has ended.",
                    ) from error
                time.sleep(0.2)
            except OSError:
                break
        yield
