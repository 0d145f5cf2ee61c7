"""The Docker engine, where there is one."""

import shutil

from local import programs


def answers() -> bool:
    """Whether an engine answers."""
    return shutil.which("docker") is not None and programs.succeeds(["docker", "version"])


def has(name: str) -> bool:
    """Whether the engine has an image of this name."""
    return answers() and programs.succeeds(["docker", "image", "inspect", name])
