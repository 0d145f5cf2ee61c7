"""Where the local cluster keeps what it builds and what it remembers."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCES = REPOSITORY / "local" / "node"

STATE_VARIABLE = "DEEPSEEK_LOCAL_STATE"

MOST_NODES = 8


def cache() -> Path:
    """The directory of everything that can be built again."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "deepseek-operator"


def default_state() -> Path:
    """The directory of the cluster itself, where neither option nor environment names another."""
    if chosen := os.environ.get(STATE_VARIABLE):
        return Path(chosen)
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "deepseek-operator" / "cluster"


@dataclass(frozen=True)
class Cluster:
    """One cluster and the names that belong to it; all follow from where its state lies, so clusters do not meet."""

    state: Path

    @property
    def identity(self) -> str:
        """Six characters that tell this machine's clusters apart (link names have 15 at most)."""
        return hashlib.sha256(str(self.state).encode()).hexdigest()[:6]

    @property
    def lock(self) -> Path:
        """The lock of commands that change the cluster; outside of its state, which a purge removes."""
        return Path(f"/run/lock/deepseek-operator-local-{self.identity}")

    @property
    def host_link(self) -> str:
        """The network device at the machine's side."""
        return f"ds-{self.identity}-host"

    @property
    def control_group(self) -> str:
        """What the names of the nodes' control groups begin with."""
        return f"deepseek-{self.identity}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.state / "pki" / "admin.kubeconfig"

    @property
    def shared_volumes(self) -> Path:
        """The directories of claims that many nodes may mount."""
        return self.state / "shared"

    @property
    def first(self) -> "Node":
        """The node that has the control plane too."""
        return Node(self, 0)

    @property
    def nodes(self) -> list["Node"]:
        """The first node and those that were added to it."""
        added = (Node(self, number) for number in range(1, MOST_NODES))
        return [self.first, *(node for node in added if node.home.exists())]

    def program(self, name: str) -> Path:
        """A program of the nodes, as a link to the one binary."""
        return self.state / "bin" / name


@dataclass(frozen=True)
class Node:
    """One node and the names that belong to it."""

    cluster: Cluster
    number: int

    @property
    def name(self) -> str:
        """What Kubernetes calls it."""
        return f"node{self.number}"

    @property
    def home(self) -> Path:
        """The directory of its own: the first node's is the cluster's."""
        return self.cluster.state / self.name if self.number else self.cluster.state

    @property
    def link(self) -> str:
        """The network device at the node's side."""
        return f"ds-{self.cluster.identity}-node" if self.number == 0 else f"ds-{self.cluster.identity}-{self.name}"

    @property
    def control_group(self) -> str:
        """The control group beneath which the kubelet makes those of the pods, and ends all that it does not know."""
        return f"{self.cluster.control_group}-{self.name}"

    @property
    def logs(self) -> Path:
        """One file for each component."""
        return self.home / "log"

    @property
    def socket(self) -> Path:
        """Where its containerd listens."""
        return self.home / "run" / "containerd.sock"
