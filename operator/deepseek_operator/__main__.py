"""`python -m deepseek_operator`."""

import logging
import sys

from deepseek_operator import app, configuration
from deepseek_operator.engine import logs


def main() -> int:
    """The process's exit code."""
    told = configuration.parse()
    logs.configure(told.log_level, as_json=told.json_logs)
    try:
        app.start(told)
    except Exception:  # the last line of the log says why the process ends
        logging.getLogger("deepseek_operator").exception("the operator cannot go on")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
