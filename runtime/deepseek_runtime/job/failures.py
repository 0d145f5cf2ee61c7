"""What an exception says about a Job: its exit code, reason and message."""

import errno
import shutil
from pathlib import Path

from deepseek_runtime.job import errors
from deepseek_runtime.job.errors import DataError, JobError
from deepseek_runtime.wire.exit_codes import ExitCode


class Terminated(BaseException):
    """SIGTERM arrived. Not an Exception, so that no library's handler takes it for a failure of its own."""


class OutOfMemoryError(JobError):
    """Memory of the machine or of the accelerator did not suffice."""

    code = ExitCode.OUT_OF_MEMORY


def explain(error: BaseException, place: Path) -> JobError:
    """The JobError that says what this exception means; `place` is where the Job writes."""
    if isinstance(error, JobError):
        return error
    if isinstance(error, Terminated | KeyboardInterrupt):
        return errors.InterruptedError("Interrupted", "Told to stop before the end; the same Job can be started again.")
    if _out_of_memory(error):
        return OutOfMemoryError(
            "OutOfMemory", f"Memory did not suffice ({_one_line(error)}). Raise resources.limits.memory."
        )
    if _disk_full(error):
        return DataError("DiskFull", _disk_message(place))
    return JobError("Internal", f"{type(error).__name__}: {_one_line(error)}. The log has the traceback.")


def _out_of_memory(error: BaseException) -> bool:
    """torch's own error is told by its name, so that torch need not be imported to know it; CPU memory has none."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "DefaultCPUAllocator: can't allocate memory" in str(error)
        or getattr(error, "errno", None) == errno.ENOMEM
    )


def _disk_full(error: BaseException) -> bool:
    """safetensors and tokenizers write from Rust and have the number in their text only."""
    numbers = (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "errno", None) in numbers or any(f"os error {number})" in str(error) for number in numbers)


def _disk_message(place: Path) -> str:
    room = shutil.disk_usage(place if place.exists() else place.parent)
    return (
        f"The volume at {place} is full: {room.total:,} bytes, {room.free:,} of them free. "
        "Raise storage.size, and it is tried again; where its class cannot grow volumes, delete the claim and the Job."
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or "no message"
