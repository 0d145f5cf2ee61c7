"""The control groups beneath which the kubelets make those of the pods."""

import time
from pathlib import Path

from local.errors import LocalClusterError
from local.places import Cluster, Node

_ROOT = Path("/sys/fs/cgroup")
_KUBELET_ASKS_FOR = {"cpu", "cpuset", "hugetlb", "memory", "pids"}


def hierarchies() -> list[Path]:
    """Where groups are made: the one tree of version 2, or the trees of version 1, one for each controller."""
    if (_ROOT / "cgroup.controllers").exists():
        return [_ROOT]
    return sorted(path for path in _ROOT.iterdir() if path.is_mount())


def make(node: Node) -> None:
    """Makes the node's group, which the kubelet wants to exist, in every hierarchy."""
    for hierarchy in hierarchies():
        _delegate(hierarchy)
        (hierarchy / node.control_group).mkdir(exist_ok=True)


def _delegate(root: Path) -> None:
    """On version 2, offers the controllers that the kubelet asks for to the groups in the root."""
    offered = root / "cgroup.subtree_control"
    if not offered.exists():
        return
    controllers = [name for name in (root / "cgroup.controllers").read_text().split() if name in _KUBELET_ASKS_FOR]
    try:
        offered.write_text(" ".join(f"+{name}" for name in controllers))
    except OSError as error:
        raise LocalClusterError(
            f"{', '.join(controllers)} cannot be enabled in {offered} ({error.strerror}): in a container, move its "
            "processes into a group beneath the root first, or run it with --cgroupns=host"
        ) from None


def present(owner: Cluster | Node) -> list[Path]:
    """The groups of a node, or of all nodes of a cluster, that are there."""
    return [path for tree in hierarchies() for path in tree.glob(f"{owner.control_group}*")]


def remove(owner: Cluster | Node) -> None:
    """Removes them; their processes have been killed, and the kernel may still be at it."""
    deadline = time.monotonic() + 10
    while left := present(owner):
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
