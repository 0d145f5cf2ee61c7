"""Ends the cluster."""

import shutil

from local import control_groups, loop_devices, network, prerequisites, process
from local.locks import MACHINE, locked
from local.places import Cluster
from local.progress import say


def down(cluster: Cluster, purge: bool) -> None:
    """Ends every process of the nodes; a later `up` continues where it was, or begins anew after a purge."""
    prerequisites.require_root("python3 -m local down")
    with locked(cluster.lock, "another command on this cluster"):
        with locked(MACHINE, "another cluster's start or end"):
            clear(cluster)
        if purge and cluster.state.exists():
            shutil.rmtree(cluster.state)
    say("down, and its state removed" if purge else f"down; its state stays in {cluster.state}")


def clear(cluster: Cluster) -> None:
    """Leaves no process, mount, link, route, packet-filter rule, control group or loop device, whatever there is."""
    process.end(cluster)
    network.disconnect(cluster)
    control_groups.remove(cluster)
    loop_devices.detach(cluster)
    for node in cluster.nodes:
        for file in (node.home / "run").glob("*"):
            file.unlink()
