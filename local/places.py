"""Where the local cluster keeps what it builds and what it remembers."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCES = REPOSITORY / "local" / "node"

STATE_VARIABLE = "DEEPSEEK_LOCAL_STATE"


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
    def node_link(self) -> str:
        """The network device at the node's side."""
        return f"ds-{self.identity}-node"

    @property
    def control_group(self) -> str:
        """The control group beneath which the kubelet makes those of the pods."""
        return f"deepseek-{self.identity}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.state / "pki" / "admin.kubeconfig"

    @property
    def logs(self) -> Path:
        """One file for each component."""
        return self.state / "log"

    @property
    def socket(self) -> Path:
        """Where the node's containerd listens."""
        return self.state / "run" / "containerd.sock"

    def program(self, name: str) -> Path:
        """A program of the node, as a link to the one binary."""
        return self.state / "bin" / name
