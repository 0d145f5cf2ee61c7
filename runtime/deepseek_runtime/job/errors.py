"""The errors that end a Job, each with the exit code that tells Kubernetes whether trying again can help."""

from deepseek_runtime.wire.exit_codes import ExitCode


class JobError(Exception):
    """Ends the Job; `reason` is CamelCase and stable, `message` says what is wrong, where, and what to do."""

    code = ExitCode.INTERNAL

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class ConfigurationError(JobError):
    """What was asked for cannot be done; the same configuration fails again."""

    code = ExitCode.CONFIGURATION


class DataError(JobError):
    """Input is bad or is not what its digest promises; the same input fails again."""

    code = ExitCode.DATA


class InterruptedError(JobError):  # noqa: A001 the standard one means a system call's EINTR
    """Told to stop, and everything worth keeping is written."""

    code = ExitCode.INTERRUPTED
