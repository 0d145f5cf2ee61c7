"""Files that the node's components read, filled in for one cluster."""

import os
import shutil
from pathlib import Path
from string import Template

from local import places
from local.errors import LocalClusterError
from local.pki import NODE_NAME
from local.places import Cluster
from local.ranges import Ranges

# Debian's place first, then where the plugins' own releases go
_CNI_PROGRAMS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
_NAMES = (
    "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "coredns",
    "volumes", "kubectl", "helm",
)  # fmt: skip


def cni_programs() -> Path | None:
    """The directory of the CNI plugins, if the machine has them."""
    return next((path for path in _CNI_PROGRAMS if (path / "bridge").exists()), None)


def write(cluster: Cluster, ranges: Ranges) -> None:
    """Writes every file of local/node/config below the cluster's state."""
    plugins = cni_programs()
    if plugins is None:
        raise LocalClusterError("the CNI plugins are not installed: run `python3 -m local prerequisites --install`")
    values = {
        "CNI_PROGRAMS": plugins,
        "CONTROL_GROUP": cluster.control_group,
        "DNS": ranges.dns,
        "HOST_ADDRESS": ranges.host,
        "NODE_ADDRESS": ranges.node,
        "NODE_LINK": cluster.node_link,
        "NODE_NAME": NODE_NAME,
        "PODS": ranges.pods,
        "SERVICES": ranges.services,
        "STATE": cluster.state,
    }
    target = cluster.state / "config"
    (target / "cni").mkdir(parents=True, exist_ok=True)
    for source in (places.SOURCES / "config").iterdir():
        place = target / "cni" if source.suffix == ".conflist" else target
        (place / source.name).write_text(Template(source.read_text()).substitute(values))


def install(cluster: Cluster, programs: Path) -> None:
    """Puts the programs into the cluster's state, where a later build cannot take them away."""
    place = cluster.state / "bin"
    place.mkdir(exist_ok=True)
    for name in ("kube", "pause"):
        new, target = place / f"{name}.new", place / name
        if (
            target.exists()
            and target.stat().st_size == (programs / name).stat().st_size
            and _same(target, programs / name)
        ):
            continue
        new.unlink(missing_ok=True)
        try:
            os.link(programs / name, new)
        except OSError:  # another file system
            shutil.copy2(programs / name, new)
        new.replace(target)
    for name in _NAMES:
        if not (place / name).is_symlink():
            (place / name).symlink_to("kube")


def _same(one: Path, other: Path) -> bool:
    # a link, or a copy with the times of its source
    return one.samefile(other) or one.stat().st_mtime_ns == other.stat().st_mtime_ns
