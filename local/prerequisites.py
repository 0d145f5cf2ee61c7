"""What the machine must have, and how to get it."""

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from local import configuration, programs
from local.errors import LocalClusterError
from local.progress import alive, say


@dataclass(frozen=True)
class Need:
    """A program of the machine and the package of Debian and Ubuntu that brings it."""

    program: str
    package: str


CLUSTER = (
    Need("conntrack", "conntrack"),
    Need("containerd", "containerd"),
    Need("ctr", "containerd"),
    Need("ip", "iproute2"),
    Need("iptables", "iptables"),
    Need("losetup", "mount"),
    Need("mkfs.ext4", "e2fsprogs"),
    Need("mount", "mount"),
    Need("openssl", "openssl"),
    Need("runc", "runc"),
    Need("setpriv", "util-linux"),
    Need("unshare", "util-linux"),
)
IMAGES = (Need("buildah", "buildah"), Need("debootstrap", "debootstrap"))
_PLUGINS = Need("the CNI plugins", "containernetworking-plugins")
_VENV = Need("Python's venv module", "python3-venv")  # for the tests


def missing(needs: Iterable[Need], which: Callable[[str], str | None] = shutil.which) -> list[Need]:
    """The needs that the machine does not meet."""
    return [need for need in needs if which(need.program) is None]


def packages(needs: Iterable[Need]) -> list[str]:
    """The packages that bring them, each once."""
    return sorted({need.package for need in needs})


def sentence(needs: list[Need]) -> str:
    """One sentence that says what is missing and how to get it."""
    names = ", ".join(need.program for need in needs)
    return (
        f"not installed: {names}; run `python3 -m local prerequisites --install` as root on Debian or Ubuntu, "
        f"or install what your distribution calls {' '.join(packages(needs))}"
    )


def require_root(command: str, effective_user: int | None = None) -> None:
    """Raises where this is not root."""
    if (os.geteuid() if effective_user is None else effective_user) != 0:
        raise LocalClusterError(f"`{command}` makes namespaces and mounts and needs root: run it with sudo")


def cluster_needs() -> list[Need]:
    """What `up` lacks."""
    return missing(CLUSTER) + ([_PLUGINS] if configuration.cni_programs() is None else [])


def require_cluster() -> None:
    """Raises where `up` lacks something."""
    require_root("python3 -m local up")
    if needs := cluster_needs():
        raise LocalClusterError(sentence(needs))


def report(install: bool) -> int:
    """Says what is missing for `up`, `build-images` and the tests; installs it on request. Returns the exit status."""
    needs = cluster_needs() + missing(IMAGES) + ([] if find_spec("ensurepip") else [_VENV])
    if not needs:
        print("nothing is missing")
        return 0
    if not install:
        print(sentence(needs))
        return 1
    if os.geteuid() != 0:
        raise LocalClusterError("packages are installed by root: run `sudo python3 -m local prerequisites --install`")
    if shutil.which("apt-get") is None:
        raise LocalClusterError(
            f"there is no apt-get: install what your distribution calls {' '.join(packages(needs))}"
        )
    say(f"will install: {' '.join(packages(needs))}")
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    with alive("apt-get update"):
        programs.output(["apt-get", "update"], environment=environment)
    with alive("apt-get install"):
        programs.output(
            ["apt-get", "install", "--yes", "--no-install-recommends", *packages(needs)], environment=environment
        )
    return report(install=False)


def loop_devices_work(state: Path) -> bool:
    """Whether a file below the state's directory can be mounted as a file system."""
    probe = state / "probe"
    shutil.rmtree(probe, ignore_errors=True)
    (probe / "mount").mkdir(parents=True)
    image = probe / "image"
    with image.open("wb") as file:
        file.truncate(1 << 20)
    programs.output(["mkfs.ext4", "-q", "-F", image])
    works = programs.succeeds(["unshare", "--mount", "mount", "-o", "loop", image, probe / "mount"])
    shutil.rmtree(probe)
    return works


def require_state_place(state: Path) -> None:
    """Raises where the state's directory cannot hold containers' root file systems."""
    for taken in (Path("/run"), Path("/var/lib"), Path("/var/log")):
        if state.is_relative_to(taken):
            raise LocalClusterError(
                f"the cluster's state cannot lie below {taken} ({state}): the node has a {taken} of its own; "
                "choose another place by --state or XDG_STATE_HOME"
            )
    probe = state / "probe"
    shutil.rmtree(probe, ignore_errors=True)
    for name in ("lower", "upper", "work", "merged"):
        (probe / name).mkdir(parents=True)
    layers = f"lowerdir={probe}/lower,upperdir={probe}/upper,workdir={probe}/work"
    accepted = programs.succeeds(
        ["unshare", "--mount", "mount", "-t", "overlay", "overlay", "-o", layers, probe / "merged"]
    )
    shutil.rmtree(probe)
    if not accepted:
        kind = programs.output(["stat", "--file-system", "--format", "%T", state]).strip()
        raise LocalClusterError(
            f"overlayfs does not accept {state} (file system {kind}) for containers' files: choose a directory on "
            "ext4, xfs or btrfs by --state or XDG_STATE_HOME"
        )
