"""Waiting for a node."""

import time
from collections.abc import Callable

from local import process, programs
from local.errors import LocalClusterError
from local.places import Node
from local.progress import say

_PATIENCE = 300.0  # seconds; a loaded machine starts an API server in 60


def until(node: Node, what: str, check: Callable[[], bool]) -> None:
    """Waits for a check to hold; a dead node or too long a time is an error that names the logs."""
    deadline = time.monotonic() + _PATIENCE
    while not check():
        if process.init(node) is None:
            raise LocalClusterError(f"{node.name} ended while waiting for: {what}; its logs are in {node.logs}")
        if time.monotonic() > deadline:
            ends = programs.output(["sh", "-c", f"grep -h '^== ' '{node.logs}'/*.log | tail -n 5 || true"])
            raise LocalClusterError(f"not in {_PATIENCE:.0f} s: {what}; the logs are in {node.logs}\n{ends}".rstrip())
        time.sleep(0.1)
    say(what)
