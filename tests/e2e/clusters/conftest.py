"""Clusters of these tests' own, beside the one that all others share: both kinds of tests can run at once."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def installed() -> None:
    """Stands for the shared cluster, which these tests do without."""


@pytest.fixture(scope="module")
def own_state() -> Iterator[Path]:
    """A directory for a cluster, with a short path: sockets are in it."""
    with tempfile.TemporaryDirectory(prefix="cluster-") as directory:
        yield Path(directory) / "state"
