"""What a Job's exit code means; podFailurePolicy acts on it. The numbers follow sysexits.h where it has them."""

from enum import IntEnum


class ExitCode(IntEnum):
    """CONFIGURATION and DATA are terminal: the same input fails again. The others may be tried again."""

    DONE = 0
    CONFIGURATION = 64  # also: written by an operator newer than this runtime
    DATA = 65  # bad data, or a digest that does not match
    INTERNAL = 70
    OUT_OF_MEMORY = 71
    INTERRUPTED = 75  # told to stop; the checkpoint is written
