"""The loop devices behind the claims' disks, seen from outside the nodes."""

import time
from pathlib import Path

from local import programs
from local.errors import LocalClusterError
from local.places import Cluster, Node

_BLOCK_DEVICES = Path("/sys/block")


def present(owner: Cluster | Node) -> list[Path]:
    """Devices whose files belong to a node, or to any node of a cluster."""
    home = owner.home if isinstance(owner, Node) else owner.state
    found = []
    for entry in _BLOCK_DEVICES.glob("loop*/loop/backing_file"):
        try:
            file = entry.read_text().strip()
        except OSError:  # it was detached meanwhile
            continue
        if Path(file).is_relative_to(home):
            found.append(Path("/dev") / entry.parts[3])
    return found


def detach(owner: Cluster | Node) -> None:
    """Returns when none is left: the kernel detaches them with the mounts of an ended node, a moment later."""
    deadline = time.monotonic() + 10
    while left := present(owner):
        if time.monotonic() > deadline:
            raise LocalClusterError(
                f"loop devices are busy: {', '.join(map(str, left))}; see `findmnt --source DEVICE`"
            )
        for device in left:
            programs.succeeds(["losetup", "--detach", device])
        time.sleep(0.02)
