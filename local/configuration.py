"""Files that the node's components read, filled in for one cluster."""

import os
import shutil
from pathlib import Path
from string import Template

from local import places
from local.errors import LocalClusterError
from local.places import Cluster, Node
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


def write(node: Node, ranges: Ranges, limited: bool) -> None:
    """Writes every file of local/node/config that a node reads below its home; `limited` is about its volumes."""
    plugins = cni_programs()
    if plugins is None:
        raise LocalClusterError("the CNI plugins are not installed: run `python3 -m local prerequisites --install`")
    values = {
        "CNI_PROGRAMS": plugins,
        "CONTROL_GROUP": node.control_group,
        "DNS": ranges.dns,
        "FIRST": ranges.between[1] if node.number else "",
        "HOST_ADDRESS": ranges.host,
        "LINK": ranges.link,
        "NODE_ADDRESS": ranges.address(node.number),
        "NODE_LINK": node.link,
        "NODE_NAME": node.name,
        "NODE_NETWORK": ranges.between.prefixlen if node.number else ranges.link.prefixlen,
        "NODE_PODS": ranges.pods_of(node.number),
        "PODS": ranges.pods,
        "SERVICES": ranges.services,
        "SHARED_VOLUMES": node.cluster.shared_volumes,
        "STATE": node.home,
        "VOLUMES": "limited" if limited else "unlimited",
    }
    target = node.home / "config"
    (target / "cni").mkdir(parents=True, exist_ok=True)
    sources = [places.SOURCES / "config", *([] if node.number else [places.SOURCES / "config" / "control-plane"])]
    for source in (file for directory in sources for file in directory.iterdir() if file.is_file()):
        place = target / "cni" if source.suffix == ".conflist" else target
        (place / source.name).write_text(Template(source.read_text()).substitute(values))


def volumes_are_limited(node: Node) -> bool:
    """Whether the claims' sizes are enforced on a node that was configured."""
    return "VOLUMES=limited\n" in (node.home / "config" / "node.env").read_text()


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
