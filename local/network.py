"""The one link between the machine and the first node, the machine's routes over it, and the nodes' own network."""

import time

from local import process, programs
from local.errors import LocalClusterError
from local.places import Cluster, Node
from local.ranges import Ranges

_BRIDGE = "nodes"  # in the first node


def connect(cluster: Cluster, ranges: Ranges, init: int) -> None:
    """Links the machine to the first node, whose process 1 waits for it; what is there already is completed."""
    link = cluster.host_link
    if not programs.succeeds(["ip", "link", "show", link]):
        # one request: there is no moment at which the node's end is the machine's
        programs.output(
            ["ip", "link", "add", link, "type", "veth", "peer", "name", cluster.first.link, "netns", str(init)]
        )
    programs.output(["ip", "address", "replace", f"{ranges.host}/30", "dev", link])
    programs.output(["ip", "link", "set", link, "up"])
    for network in (ranges.services, ranges.pods):
        programs.output(["ip", "route", "replace", str(network), "via", ranges.node, "dev", link])


def join(node: Node, ranges: Ranges, init: int) -> None:
    """Links another node, whose process 1 waits for it, to the first one: it has no link to the machine."""
    first = process.init(node.cluster.first)
    if first is None:
        raise LocalClusterError(
            f"the first node ended while {node.name} was started; its logs are in {node.cluster.first.logs}"
        )
    inside = ["nsenter", "--net", "--target", str(first), "ip"]
    if not programs.succeeds([*inside, "link", "show", _BRIDGE]):
        programs.output([*inside, "link", "add", _BRIDGE, "type", "bridge"])
    programs.output([*inside, "address", "replace", f"{ranges.between[1]}/{ranges.between.prefixlen}", "dev", _BRIDGE])
    programs.output([*inside, "link", "set", _BRIDGE, "up"])
    port = f"to-{node.name}"
    if not programs.succeeds(["nsenter", "--net", "--target", str(init), "ip", "link", "show", node.link]):
        # the port of an earlier life of the node goes some time after its last process
        deadline = time.monotonic() + 10
        while programs.succeeds([*inside, "link", "show", port]) and time.monotonic() < deadline:
            time.sleep(0.02)
        programs.output(
            [
                "ip",
                "link",
                "add",
                node.link,
                "netns",
                str(init),
                "type",
                "veth",
                "peer",
                "name",
                port,
                "netns",
                str(first),
            ]
        )
    programs.output([*inside, "link", "set", port, "master", _BRIDGE, "up"])
    route = [str(ranges.pods_of(node.number)), "via", ranges.address(node.number), "dev", _BRIDGE]
    programs.output([*inside, "route", "replace", *route])


def disconnect(cluster: Cluster) -> None:
    """Removes the link, and with it its other end and the machine's routes."""
    if programs.succeeds(["ip", "link", "show", cluster.host_link]):
        programs.succeeds(["ip", "link", "delete", cluster.host_link])
