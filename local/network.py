"""The one link between the machine and the node, and the machine's routes over it."""

from local import programs
from local.places import Cluster
from local.ranges import Ranges


def connect(cluster: Cluster, ranges: Ranges, init: int) -> None:
    """Links the machine to the node, whose process 1 waits for it; what is there already is completed."""
    link = cluster.host_link
    if not programs.succeeds(["ip", "link", "show", link]):
        # one request: there is no moment at which the node's end is the machine's
        programs.output(
            ["ip", "link", "add", link, "type", "veth", "peer", "name", cluster.node_link, "netns", str(init)]
        )
    programs.output(["ip", "address", "replace", f"{ranges.host}/30", "dev", link])
    programs.output(["ip", "link", "set", link, "up"])
    for network in (ranges.services, ranges.pods):
        programs.output(["ip", "route", "replace", str(network), "via", ranges.node, "dev", link])


def disconnect(cluster: Cluster) -> None:
    """Removes the link, and with it its other end and the machine's routes."""
    if programs.succeeds(["ip", "link", "show", cluster.host_link]):
        programs.succeeds(["ip", "link", "delete", cluster.host_link])
