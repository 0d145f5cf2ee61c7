"""The environment of Optimum, whose pins conflict with the runtime's: a directory of packages before this one's.

Its programs are processes of their own. torch, numpy and whatever else the directory does not have is shared.
"""

import errno
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import deepseek_runtime
from deepseek_runtime.job.container import available, oom_kills
from deepseek_runtime.job.errors import ConfigurationError, JobError
from deepseek_runtime.job.failures import OutOfMemoryError

VARIABLE = "DEEPSEEK_ONNX"
"""Names the directory; the compute image sets it."""
PROGRAMS = "deepseek_runtime.export.onnx.separate"
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
_LAST_LINES = 20


def directory() -> Path:
    """Where the packages are; ConfigurationError `ExportEnvironmentMissing` where they are not."""
    found = Path(os.environ.get(VARIABLE, "/opt/onnx")).absolute()  # a program has another working directory
    if not (found / "optimum").is_dir():
        raise ConfigurationError(
            "ExportEnvironmentMissing",
            f"{found} does not hold Optimum. Use the compute image, or install runtime/requirements-onnx.lock with "
            f"`pip install --no-deps --target DIRECTORY` and name the directory in {VARIABLE}.",
        )
    return found


def run(program: str, asked: Mapping[str, Any], scratch: Path) -> None:
    """Run a program of `separate` to its end; what it says goes to this process's own standard error.

    Errors: OutOfMemoryError, OSError for a full disk, JobError `ExportFailed` with the program's last words.
    """
    request = scratch / f"{program}.json"
    request.write_text(json.dumps(dict(asked)), "utf-8")
    kills = oom_kills()
    last: deque[str] = deque(maxlen=_LAST_LINES)
    # -P: the working directory is no place to import from. Warnings are of tracing, whose outcome is proven.
    command = [sys.executable, "-P", "-W", "ignore", "-m", f"{PROGRAMS}.{program}", str(request)]
    with subprocess.Popen(
        command,
        env=variables() | {"TMPDIR": str(scratch)},
        cwd=scratch,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            for line in process.stderr or ():
                sys.stderr.write(line)
                last.append(line)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise _failure(program, process.returncode, "".join(last), killed=oom_kills() > kills)


def variables() -> dict[str, str]:
    """The environment variables of a program: its packages come first, and nothing is asked of a network."""
    path = os.pathsep.join((str(directory()), str(Path(deepseek_runtime.__file__).parents[1])))
    return {"OMP_NUM_THREADS": str(available())} | dict(os.environ) | _OFFLINE | {"PYTHONPATH": path}


def _failure(program: str, code: int, said: str, *, killed: bool) -> Exception:
    if killed or "MemoryError" in said or "can't allocate memory" in said:
        return OutOfMemoryError(
            "OutOfMemory", f"Memory did not suffice to {program} the model. Raise resources.limits.memory."
        )
    if os.strerror(errno.ENOSPC) in said:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    words = said.strip().rpartition("\n")[2][:500] or "nothing"
    return JobError("ExportFailed", f"The program {program} ended with code {code} and said: {words}")
