"""What a process that is no Job leaves behind when it fails: a line in the log, and a termination message."""

import logging
import os
import sys
import traceback
from pathlib import Path

from deepseek_runtime.job.errors import JobError
from deepseek_runtime.wire.paths import IMAGE_ENVIRONMENT
from deepseek_runtime.wire.result import JobResult, encode

LOG = logging.getLogger(__name__)


def last_words(kind: str, failure: JobError, termination_log: Path, cause: BaseException) -> None:
    """Tell what ended a process of this kind; a failure that nobody foresaw with the traceback of its cause."""
    if type(failure) is JobError and failure is not cause:
        traceback.print_exception(cause, file=sys.stderr)
    LOG.error("failed: kind=%s reason=%s code=%d message=%s", kind, failure.reason, failure.code, failure.message)
    result = JobResult(
        kind=kind,
        identity="",
        outcome="failed",
        reason=failure.reason,
        message=failure.message,
        image=os.environ.get(IMAGE_ENVIRONMENT),
    )
    if termination_log.exists():  # the kubelet makes it; elsewhere there is nobody to read it
        termination_log.write_text(encode(result), "utf-8")
