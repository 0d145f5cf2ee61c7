"""The cluster's API, through its own kubectl."""

import os
from collections.abc import Mapping

from local import programs
from local.errors import LocalClusterError
from local.places import Cluster
from local.ranges import LINKS


def environment(cluster: Cluster) -> Mapping[str, str]:
    """What a client needs: the kubeconfig, and the way past any proxy, for the node is reached directly."""
    past = [os.environ.get("NO_PROXY"), str(LINKS)]
    return {"KUBECONFIG": str(cluster.kubeconfig), "NO_PROXY": ",".join(filter(None, past))}


def kubectl(cluster: Cluster, *arguments: str) -> str:
    """Runs kubectl as the administrator and returns what it printed."""
    return programs.output([cluster.program("kubectl"), *arguments], environment=environment(cluster), bound=True)


def accepts(cluster: Cluster, *arguments: str) -> bool:
    """Whether kubectl ends with status 0, and soon: a node that dies answers nothing at all."""
    try:
        kubectl(cluster, "--request-timeout=20s", *arguments)
    except LocalClusterError:
        return False
    return True
