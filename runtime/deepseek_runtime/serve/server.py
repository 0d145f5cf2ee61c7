"""A serving process from start to end: its environment, its exit code and its termination message."""

import asyncio
import logging
import os
import signal
import sys
import traceback
from pathlib import Path

from deepseek_runtime.job.errors import JobError
from deepseek_runtime.job.failures import explain
from deepseek_runtime.serve.team import Team
from deepseek_runtime.wire.exit_codes import ExitCode
from deepseek_runtime.wire.paths import IMAGE_ENVIRONMENT, TERMINATION_LOG
from deepseek_runtime.wire.result import JobResult, encode
from deepseek_runtime.wire.serve import ServeConfig

LOG = logging.getLogger(__name__)

SPIN_COUNT = "5000"
"""How long OpenMP's threads spin before they sleep: the default starves neighbours, sleeping at once costs half."""


def main(config: ServeConfig, *, termination_log: Path = Path(TERMINATION_LOG)) -> int:
    """Serve until SIGTERM or SIGINT (0), or until something fails (its exit code, and a termination message)."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    logging.basicConfig(
        stream=sys.stdout, format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, force=True
    )
    # The first process of a container ignores a signal that it does not handle, and loading torch takes seconds.
    signal.signal(signal.SIGTERM, lambda number, frame: _leave(ExitCode.DONE))
    team = Team(config)
    try:
        team.start()
        from deepseek_runtime.serve import service  # loads torch, which reads the environment

        clean = asyncio.run(service.run(config, team))
    except Exception as error:  # noqa: BLE001 whatever ends the engine ends in its exit code and message
        failure = explain(error, Path(config.model))
        if type(failure) is JobError and failure is not error:
            traceback.print_exception(error, file=sys.stderr)
        _report(failure, termination_log)
        _leave(failure.code)
    if not clean:
        _leave(ExitCode.DONE)
    return ExitCode.DONE


def _report(failure: JobError, termination_log: Path) -> None:
    LOG.error("engine failed: reason=%s code=%d message=%s", failure.reason, failure.code, failure.message)
    result = JobResult(
        kind="serve",
        identity="",
        outcome="failed",
        reason=failure.reason,
        message=failure.message,
        image=os.environ.get(IMAGE_ENVIRONMENT),
    )
    if termination_log.exists():  # the kubelet makes it; elsewhere there is nobody to read it
        termination_log.write_text(encode(result), "utf-8")


def _leave(code: ExitCode) -> None:
    """End at once: the engine's thread may wait in a collective that nobody will complete. Other ranks follow."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
