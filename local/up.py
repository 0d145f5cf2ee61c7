"""Starts the cluster, or completes what an earlier start left undone."""

import json
import platform
import time
import urllib.request
from collections.abc import Callable

from local import (
    archive,
    build,
    configuration,
    containerd,
    control_groups,
    kubectl,
    network,
    pki,
    prerequisites,
    process,
    programs,
)
from local import ranges as address_ranges
from local.down import clear
from local.errors import LocalClusterError
from local.locks import MACHINE, locked
from local.places import Cluster
from local.progress import say
from local.ranges import Ranges

_PATIENCE = 300.0  # seconds; a loaded machine starts an API server in 60
PAUSE = "localhost/pause:1"


def up(cluster: Cluster, gpus: int | None) -> None:
    """Returns when the cluster runs pods; harmless where it does already."""
    prerequisites.require_cluster()
    programs_built = build.built()
    with locked(cluster.lock, "another command on this cluster"):
        number = process.init(cluster)
        if number is None:
            number = _start(cluster, lambda: configuration.install(cluster, programs_built))
        else:
            say("the node runs")
        ranges = address_ranges.read(cluster.state / "ranges.json")
        network.connect(cluster, ranges, number)
        _complete(cluster, ranges)
        if gpus is not None:
            _offer_gpus(cluster, gpus)
    say(f"up; export KUBECONFIG={cluster.kubeconfig}")


def _start(cluster: Cluster, install: Callable[[], None]) -> int:
    for name in ("log", "run", "volumes"):
        (cluster.state / name).mkdir(parents=True, exist_ok=True)
    with locked(MACHINE, "another cluster's start or end"):
        clear(cluster)
        prerequisites.require_state_place(cluster.state)
        ranges = address_ranges.settle(cluster)
        install()
        pki.make(cluster.state / "pki", ranges)
        configuration.write(cluster, ranges)
        control_groups.make(cluster)
        say("starting the node")
        number = process.start(cluster)
        # within the lock: the routes are what tells another cluster that the ranges are taken
        network.connect(cluster, ranges, number)
    return number


def _complete(cluster: Cluster, ranges: Ranges) -> None:
    until(cluster, "containerd answers", lambda: containerd.answers(cluster))
    if PAUSE not in containerd.images(cluster):
        containerd.ctr(cluster, "images", "import", "--digests=false", "-", stdin=_pause(cluster))
    until(cluster, "API server ready", lambda: kubectl.accepts(cluster, "get", "--raw", "/readyz"))
    objects = str(cluster.state / "config" / "cluster.yaml")
    until(cluster, "cluster objects applied", lambda: kubectl.accepts(cluster, "apply", "-f", objects))
    until(
        cluster,
        "node ready",
        lambda: kubectl.accepts(cluster, "wait", "--for=condition=Ready", f"node/{pki.NODE_NAME}", "--timeout=1s"),
    )
    until(
        cluster,
        "default service account",
        lambda: kubectl.accepts(cluster, "-n", "default", "get", "serviceaccount", "default"),
    )
    until(cluster, "name service ready", lambda: _answers(f"http://{ranges.node}:8181/ready"))


def until(cluster: Cluster, what: str, check: Callable[[], bool]) -> None:
    """Waits for a check to hold; a dead node or too long a time is an error that names the logs."""
    deadline = time.monotonic() + _PATIENCE
    while not check():
        if process.init(cluster) is None:
            raise LocalClusterError(f"the node ended while waiting for: {what}; its logs are in {cluster.logs}")
        if time.monotonic() > deadline:
            ends = programs.output(["sh", "-c", f"grep -h '^== ' '{cluster.logs}'/*.log | tail -n 5 || true"])
            raise LocalClusterError(
                f"not in {_PATIENCE:.0f} s: {what}; the logs are in {cluster.logs}\n{ends}".rstrip()
            )
        time.sleep(0.1)
    say(what)


def _answers(address: str) -> bool:
    try:
        # no proxy of the environment leads to the node
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=1)
    except OSError:
        return False
    return True


def _pause(cluster: Cluster) -> bytes:
    layer = archive.tar({"pause": cluster.program("pause").read_bytes()}, mode=0o755)
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [archive.digest(layer)]},
    }
    return archive.write(PAUSE, json.dumps(config).encode(), [layer])


def _offer_gpus(cluster: Cluster, count: int) -> None:
    # the kubelet keeps extended resources that others wrote; nothing stands behind them but scheduling
    amount = {"nvidia.com/gpu": str(count) if count else None}
    patch = json.dumps({"status": {"capacity": amount, "allocatable": amount}})
    kubectl.kubectl(cluster, "patch", "node", pki.NODE_NAME, "--subresource=status", "--type=merge", "--patch", patch)
    say(f"{count} simulated nvidia.com/gpu")
