"""Whether a volume has room for what a Job is about to write, asked before the first byte."""

import shutil
from pathlib import Path

from deepseek_runtime.job.errors import ConfigurationError

SPARE = 64 << 20
"""Bytes that are left free on the volume: journals, results, evaluations, signatures."""


def demand(
    directory: Path, what: str, total: int, *, kept: int = 0, size: str | None = None, field: str = "storage.size"
) -> None:
    """ConfigurationError `StorageTooSmall` where `total` bytes of `what`, `kept` of them there already, do not fit.

    `field` and `size` are what the volume was asked for by, and how large, for the message.
    """
    free, needed = shutil.disk_usage(directory).free, total - kept + SPARE
    if needed > free:
        there = f", {kept:,} of them are on the volume" if kept else ""
        raise ConfigurationError(
            "StorageTooSmall",
            f"{what}: {total:,} bytes{there}; {needed:,} bytes are needed and {free:,} are available. Raise {field}"
            + (f", which is {size}." if size else "."),
        )
