"""One node: started, joined to the others, and stopped as a machine that loses its power."""

import json
import platform

from local import archive, configuration, containerd, control_groups, kubectl, loop_devices, network, pki, process
from local import ranges as address_ranges
from local.errors import LocalClusterError
from local.images import copies
from local.locks import locked
from local.places import Cluster, Node
from local.progress import say
from local.ranges import Ranges
from local.waiting import until

PAUSE = "localhost/pause:1"


def begin(node: Node, ranges: Ranges, limited: bool) -> int:
    """Starts a node that is down and returns the machine's number of its process 1, which waits for its link."""
    for name in ("log", "run", "volumes"):
        (node.home / name).mkdir(parents=True, exist_ok=True)
    if node.number:
        for name in ("bin", "pki"):
            if not (node.home / name).is_symlink():
                (node.home / name).symlink_to(f"../{name}")
    pki.make_kubelet(node.cluster.state / "pki", node, ranges)
    configuration.write(node, ranges, limited)
    control_groups.make(node)
    say(f"starting {node.name}")
    return process.start(node)


def add(node: Node, ranges: Ranges, limited: bool) -> None:
    """Starts another node than the first, or completes its start; `complete` waits for it."""
    number = process.init(node)
    if number is None:
        clear(node)
        number = begin(node, ranges, limited)
    network.join(node, ranges, number)


def complete(node: Node) -> None:
    """Returns when Kubernetes calls the node ready and it has the images of the first one."""
    has_images(node)
    until(
        node,
        f"{node.name} ready",
        lambda: kubectl.accepts(node.cluster, "wait", "--for=condition=Ready", f"node/{node.name}", "--timeout=1s"),
    )


def has_images(node: Node) -> None:
    """Returns when the node's containerd runs and has what every pod needs, and what the first node has."""
    until(node, f"containerd of {node.name} answers", lambda: containerd.answers(node))
    if PAUSE not in containerd.images(node):
        containerd.ctr(node, "images", "import", "--digests=false", "-", stdin=_pause(node.cluster))
    if node.number:
        for name in containerd.images(node.cluster.first):
            if name != PAUSE and not name.startswith("sha256:"):
                copies.copy(node.cluster.first, node, name)


def _pause(cluster: Cluster) -> bytes:
    layer = archive.tar({"pause": cluster.program("pause").read_bytes()}, mode=0o755)
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [archive.digest(layer)]},
    }
    return archive.write(PAUSE, json.dumps(config).encode(), [layer])


def clear(node: Node) -> None:
    """Leaves nothing of a node but its directory."""
    process.end(node)
    control_groups.remove(node)
    loop_devices.detach(node)
    for file in (node.home / "run").glob("*"):
        file.unlink()


def stop(cluster: Cluster, name: str) -> None:
    """Ends a node at once, with its pods; Kubernetes is not told and finds it lost."""
    with locked(cluster.lock, "another command on this cluster"):
        clear(_other(cluster, name))
    say(f"{name} is down; Kubernetes finds it lost in half a minute")


def start(cluster: Cluster, name: str) -> None:
    """Starts a stopped node."""
    with locked(cluster.lock, "another command on this cluster"):
        node = _other(cluster, name)
        if process.init(cluster.first) is None:
            raise LocalClusterError(f"the cluster of {cluster.state} is not up: run `python3 -m local up`")
        limited = configuration.volumes_are_limited(cluster.first)
        add(node, address_ranges.read(cluster.state / "ranges.json"), limited)
        complete(node)


def _other(cluster: Cluster, name: str) -> Node:
    found = next((node for node in cluster.nodes if node.name == name), None)
    if found is None:
        names = ", ".join(node.name for node in cluster.nodes)
        raise LocalClusterError(f"no node {name}: there are {names}; `python3 -m local up --nodes N` adds nodes")
    if found.number == 0:
        raise LocalClusterError(f"{name} has the control plane: `python3 -m local down` stops it with the cluster")
    return found
