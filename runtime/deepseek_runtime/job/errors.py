"""The errors that end a Job, each with the exit code that tells Kubernetes whether trying again can help."""

from deepseek_runtime.wire.exit_codes import ExitCode
from deepseek_runtime.wire.result import Refused


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


class UnknownArchitectureError(DataError):
    """A model that this runtime does not compute; what it takes where it is served is told beside the reason."""

    def __init__(self, message: str, refused: Refused) -> None:
        super().__init__("UnknownArchitecture", message)
        self.refused = refused


class InterruptedError(JobError):  # noqa: A001 the standard one means a system call's EINTR
    """Told to stop, and everything worth keeping is written."""

    code = ExitCode.INTERRUPTED
