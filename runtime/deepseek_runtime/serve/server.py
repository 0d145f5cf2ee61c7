"""A serving process from start to end: its environment, its exit code and its termination message."""

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from deepseek_runtime.job.failures import explain
from deepseek_runtime.job.last_words import last_words
from deepseek_runtime.serve.team import Team
from deepseek_runtime.wire.exit_codes import ExitCode
from deepseek_runtime.wire.paths import TERMINATION_LOG
from deepseek_runtime.wire.serve import ServeConfig

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
        last_words("serve", failure, termination_log, error)
        _leave(failure.code)
    if not clean:
        _leave(ExitCode.DONE)
    return ExitCode.DONE


def _leave(code: ExitCode) -> None:
    """End at once: the engine's thread may wait in a collective that nobody will complete. Other ranks follow."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
