"""Starts the cluster, or completes what an earlier start left undone."""

import json
import urllib.request
from collections.abc import Callable

from local import build, configuration, kubectl, network, nodes, pki, prerequisites, process
from local import ranges as address_ranges
from local.down import clear
from local.errors import LocalClusterError
from local.locks import MACHINE, locked
from local.places import MOST_NODES, STATE_VARIABLE, Cluster, Node
from local.progress import say
from local.ranges import Ranges
from local.waiting import until

LONGEST_SOCKET = 104
"""Characters of a Unix socket's path, as containerd counts them."""


def up(cluster: Cluster, gpus: int | None, count: int | None) -> None:
    """Returns when the cluster runs pods on as many nodes as asked for or as it had; harmless where it does already."""
    prerequisites.require_cluster()
    wanted = _wanted(cluster, count)
    _require_short_paths(wanted)
    programs_built = build.built()
    with locked(cluster.lock, "another command on this cluster"):
        number = process.init(cluster.first)
        if number is None:
            number = _start(cluster, lambda: configuration.install(cluster, programs_built))
        else:
            say("the first node runs")
        ranges = address_ranges.read(cluster.state / "ranges.json")
        network.connect(cluster, ranges, number)
        for node in wanted[1:]:
            nodes.add(node, ranges, configuration.volumes_are_limited(cluster.first))
        _complete(cluster, ranges)
        for node in wanted[1:]:
            nodes.complete(node)
        if gpus is not None:
            for node in wanted:
                _offer_gpus(node, gpus)
    say(f"up; export KUBECONFIG={cluster.kubeconfig}")


def _wanted(cluster: Cluster, count: int | None) -> list[Node]:
    there = cluster.nodes
    if count is None:
        return there
    if not 1 <= count <= MOST_NODES:
        raise LocalClusterError(f"--nodes is 1 to {MOST_NODES}, not {count}")
    if count < len(there):
        raise LocalClusterError(
            f"this cluster has {len(there)} nodes, whose volumes it keeps: stop one with `python3 -m local node stop "
            f"{there[-1].name}`, or begin anew after `python3 -m local down --purge`"
        )
    return [Node(cluster, number) for number in range(count)]


def _require_short_paths(nodes: list[Node]) -> None:
    """The kernel's limit for sockets, as containerd has it, which would be started again and again instead."""
    excess = max(len(f"{node.socket}.ttrpc") for node in nodes) - LONGEST_SOCKET
    if excess > 0:
        raise LocalClusterError(
            f"the directory {nodes[0].cluster.state} is {excess} characters too long for the sockets in it: name a "
            f"shorter one by --state or ${STATE_VARIABLE}"
        )


def _start(cluster: Cluster, install: Callable[[], None]) -> int:
    cluster.first.logs.mkdir(parents=True, exist_ok=True)
    cluster.shared_volumes.mkdir(exist_ok=True)
    with locked(MACHINE, "another cluster's start or end"):
        clear(cluster)
        prerequisites.require_state_place(cluster.state)
        limited = prerequisites.loop_devices_work(cluster.state)
        if not limited:
            say("this machine has no loop devices: claims are directories, and their sizes are not enforced")
        ranges = address_ranges.settle(cluster)
        install()
        pki.make(cluster.state / "pki", ranges)
        number = nodes.begin(cluster.first, ranges, limited)
        # within the lock: the routes are what tells another cluster that the ranges are taken
        network.connect(cluster, ranges, number)
    return number


def _complete(cluster: Cluster, ranges: Ranges) -> None:
    first = cluster.first
    nodes.has_images(first)
    until(first, "API server ready", lambda: kubectl.accepts(cluster, "get", "--raw", "/readyz"))
    objects = str(cluster.state / "config" / "cluster.yaml")
    # --force: a class of volumes cannot be changed, only made again
    until(first, "cluster objects applied", lambda: kubectl.accepts(cluster, "apply", "--force", "-f", objects))
    nodes.complete(first)
    until(
        first,
        "default service account",
        lambda: kubectl.accepts(cluster, "-n", "default", "get", "serviceaccount", "default"),
    )
    until(first, "name service ready", lambda: _answers(f"http://{ranges.node}:8181/ready"))


def _answers(address: str) -> bool:
    try:
        # no proxy of the environment leads to the node
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=1)
    except OSError:
        return False
    return True


def _offer_gpus(node: Node, count: int) -> None:
    # the kubelet keeps extended resources that others wrote; nothing stands behind them but scheduling
    amount = {"nvidia.com/gpu": str(count) if count else None}
    patch = json.dumps({"status": {"capacity": amount, "allocatable": amount}})
    kubectl.kubectl(node.cluster, "patch", "node", node.name, "--subresource=status", "--type=merge", "--patch", patch)
    say(f"{count} simulated nvidia.com/gpu on {node.name}")
