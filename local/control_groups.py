"""The control groups beneath which the kubelet makes those of the pods."""

import time
from pathlib import Path

from local.errors import LocalClusterError
from local.places import Cluster

_ROOT = Path("/sys/fs/cgroup")


def hierarchies() -> list[Path]:
    """Where groups are made: the one tree of version 2, or the trees of version 1, one for each controller."""
    if (_ROOT / "cgroup.controllers").exists():
        return [_ROOT]
    return sorted(path for path in _ROOT.iterdir() if path.is_mount())


def make(cluster: Cluster) -> None:
    """Makes the cluster's group, which the kubelet wants to exist, in every hierarchy."""
    for hierarchy in hierarchies():
        (hierarchy / cluster.control_group).mkdir(exist_ok=True)


def remove(cluster: Cluster) -> None:
    """Removes the cluster's groups; their processes have been killed, and the kernel may still be at it."""
    deadline = time.monotonic() + 10
    while left := [path for tree in hierarchies() if (path := tree / cluster.control_group).exists()]:
        for path in left:
            for group in sorted((entry for entry in path.rglob("*") if entry.is_dir()), reverse=True):
                _remove(group)
            _remove(path)
        if time.monotonic() > deadline:
            raise LocalClusterError(f"control groups are busy: {', '.join(map(str, left))}; see their cgroup.procs")
        time.sleep(0.02)


def _remove(group: Path) -> None:
    try:
        group.rmdir()
    except OSError:  # busy: tried again
        return
