"""The local cluster itself, on a second one beside whatever runs: it starts, survives, and leaves nothing behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import control_groups, loop_devices, process, ranges
from local.places import Cluster, Node

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the local cluster needs root"),
    pytest.mark.timeout(300),
]

# a pod on a volume, of the one image that every node has: it waits to be ended
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "disk", "namespace": "default"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}},
}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "idle", "namespace": "default"},
    "spec": {
        "containers": [
            {"name": "idle", "image": "localhost/pause:1", "volumeMounts": [{"name": "disk", "mountPath": "/disk"}]}
        ],
        "volumes": [{"name": "disk", "persistentVolumeClaim": {"claimName": "disk"}}],
    },
}


@pytest.fixture
def cluster(own_state: Path) -> Iterator[Cluster]:
    cluster = Cluster(own_state)
    yield cluster
    local(cluster, "down", "--purge")


def command(cluster: Cluster, *words: str) -> list[str]:
    return [sys.executable, "-m", "local", "--state", str(cluster.state), *words]


def local(cluster: Cluster, *words: str, text: str | None = None) -> str:
    done = subprocess.run(command(cluster, *words), input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_a_pod(cluster: Cluster) -> None:
    local(
        cluster,
        "kubectl",
        "apply",
        "-f",
        "-",
        text=json.dumps({"apiVersion": "v1", "kind": "List", "items": [CLAIM, POD]}),
    )
    local(cluster, "kubectl", "wait", "--for=condition=Ready", "pod/idle", "--timeout=60s")


def leftovers(cluster: Cluster) -> list[str]:
    """Whatever of a cluster the machine still has, outside its directory."""
    found = []
    state = str(cluster.state)
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                if state in (entry / "cmdline").read_text(errors="replace"):
                    found.append(f"process {entry.name}")
                if cluster.control_group in (entry / "cgroup").read_text():
                    found.append(f"process {entry.name} in a control group")
                if state in (entry / "mountinfo").read_text():
                    found.append(f"mount in the namespace of process {entry.name}")
            except (OSError, ProcessLookupError):
                continue
    for words in (["ip", "link"], ["ip", "route", "show", "table", "all"]):
        found += [line for line in subprocess.check_output(words, text=True).splitlines() if cluster.host_link in line]
    if "KUBE-" in subprocess.run(["iptables-save"], capture_output=True, text=True, check=False).stdout:
        found.append("packet-filter rules")
    return found + [str(path) for path in (*control_groups.present(cluster), *loop_devices.present(cluster))]


def test_a_directory_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    long = Cluster(tmp_path / ("long" * 20))
    refused = subprocess.run(command(long, "up"), capture_output=True, text=True, check=False)
    assert "characters too long" in refused.stderr
    assert "--state" in refused.stderr
    assert not long.state.exists()


@pytest.mark.parametrize("nodes", [1, 2])
def test_two_starts_at_once_make_one_cluster_and_down_leaves_nothing(cluster: Cluster, nodes: int) -> None:
    starts = [subprocess.Popen(command(cluster, "up", "--gpus", "2", "--nodes", str(nodes))) for _ in range(2)]
    assert [start.wait() for start in starts] == [0, 0]
    assert len([found for found in process.marked(cluster) if found.is_init]) == nodes
    listed = json.loads(local(cluster, "kubectl", "get", "nodes", "-o", "json"))["items"]
    assert [node["status"]["allocatable"]["nvidia.com/gpu"] for node in listed] == ["2"] * nodes
    run_a_pod(cluster)
    # the search itself finds what is there
    assert len(loop_devices.present(cluster)) == 1
    assert len(leftovers(cluster)) > nodes
    local(cluster, "down")
    assert leftovers(cluster) == []


def test_objects_and_images_outlive_down(cluster: Cluster) -> None:
    local(cluster, "up")
    local(cluster, "kubectl", "create", "configmap", "kept")
    local(cluster, "down")
    begun = time.monotonic()
    local(cluster, "up")
    assert time.monotonic() - begun < 60
    local(cluster, "kubectl", "get", "configmap", "kept")
    run_a_pod(cluster)


@pytest.mark.parametrize("seconds", [0.4, 0.8, 1.2, 2.0, 4.0])
def test_a_start_killed_half_way_leaves_nothing_after_down(cluster: Cluster, seconds: float) -> None:
    with subprocess.Popen(command(cluster, "up", "--nodes", "2"), stderr=subprocess.DEVNULL) as start:
        time.sleep(seconds)
        start.send_signal(signal.SIGKILL)
    local(cluster, "down")
    assert leftovers(cluster) == []


def test_a_start_completes_one_that_was_killed(cluster: Cluster) -> None:
    with subprocess.Popen(command(cluster, "up"), stderr=subprocess.DEVNULL) as start:
        while process.init(cluster.first) is None:
            time.sleep(0.01)
        start.send_signal(signal.SIGKILL)
    local(cluster, "up")
    run_a_pod(cluster)


def test_a_killed_node_starts_again_and_leaves_nothing(cluster: Cluster) -> None:
    local(cluster, "up")
    run_a_pod(cluster)
    init = process.init(cluster.first)
    assert init is not None
    os.kill(init, signal.SIGKILL)
    assert subprocess.run(command(cluster, "status"), capture_output=True, check=False).returncode == 1
    local(cluster, "up")
    run_a_pod(cluster)
    init = process.init(cluster.first)
    assert init is not None
    os.kill(init, signal.SIGKILL)
    local(cluster, "down")
    assert leftovers(cluster) == []


def test_a_stopped_node_starts_again_and_fewer_nodes_are_refused(cluster: Cluster) -> None:
    local(cluster, "up", "--nodes", "2")
    second = Node(cluster, 1)
    local(cluster, "node", "stop", "node1")
    assert process.init(second) is None
    assert control_groups.present(second) == []
    assert "node1: down" in local(cluster, "status")
    refused = subprocess.run(command(cluster, "up", "--nodes", "1"), capture_output=True, text=True, check=False)
    assert "node stop node1" in refused.stderr
    local(cluster, "up")
    assert process.init(second) is not None
    refused = subprocess.run(command(cluster, "node", "stop", "node0"), capture_output=True, text=True, check=False)
    assert "control plane" in refused.stderr


def test_components_that_are_killed_come_back(cluster: Cluster) -> None:
    local(cluster, "up")
    run_a_pod(cluster)
    for name in ("etcd", "kube-apiserver", "containerd", "kubelet"):
        number = (cluster.state / "run" / f"{name}.pid").read_text().strip()
        init = process.init(cluster.first)
        subprocess.run(["nsenter", "-t", str(init), "-p", "-m", "kill", "-9", number], check=True)
    time.sleep(2)
    local(cluster, "up")
    local(cluster, "kubectl", "wait", "--for=condition=Ready", "pod/idle", "--timeout=60s")


@pytest.mark.parametrize("number", [0, 1])
def test_a_node_reaches_nothing_of_the_machine(cluster: Cluster, number: int) -> None:
    local(cluster, "up", "--nodes", str(number + 1))
    network = ["nsenter", "-t", str(process.init(Node(cluster, number))), "-n"]
    routes = subprocess.check_output([*network, "ip", "-json", "route", "show", "default"], text=True)
    assert [route["dev"] for route in json.loads(routes)] == ["nowhere"]
    # a server on every address of the machine, so also on its end of the link
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104 - that is the question
        host, port = ranges.read(cluster.state / "ranges.json").host, server.getsockname()[1]
        ask = f"import socket; socket.create_connection(('{host}', {port}), timeout=3)"
        assert subprocess.run([sys.executable, "-c", ask], check=False).returncode == 0
        refused = subprocess.run([*network, sys.executable, "-c", ask], capture_output=True, text=True, check=False)
        assert "ConnectionRefusedError" in refused.stderr
