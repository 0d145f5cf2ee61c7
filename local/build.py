"""Builds the node's programs, once per user and per state of their sources."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from local import places, programs, toolchain
from local.errors import LocalClusterError
from local.locks import locked
from local.progress import alive, say

PROGRAMS = ("kube", "pause")


def key(files: Iterable[tuple[str, bytes]], go_version: str) -> str:
    """What a build depends on, as 16 characters: every file's name and content, and the compiler."""
    sha = hashlib.sha256(go_version.encode())
    for name, content in sorted(files):
        sha.update(f"\0{name}\0{len(content)}\0".encode() + content)
    return sha.hexdigest()[:16]


def sources(module: Path) -> Iterable[tuple[str, bytes]]:
    """Name and content of every file of a Go module, and of modules below it."""
    for pattern in ("go.mod", "go.sum", "*.go"):
        for file in module.rglob(pattern):
            yield str(file.relative_to(module)), file.read_bytes()


def linker_flags(go_mod: str) -> str:
    """Versions that the programs report: the Go build of a library's main does not know them."""
    versions = dict(re.findall(r"^\t(k8s\.io/kubernetes|helm\.sh/helm/v4) (v\S+)", go_mod, re.MULTILINE))
    kubernetes, helm = versions["k8s.io/kubernetes"], versions["helm.sh/helm/v4"]
    major, minor, *_ = kubernetes.removeprefix("v").split(".")
    flags = ["-s", "-w"]
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        for name, value in {
            "gitVersion": kubernetes,
            "gitMajor": major,
            "gitMinor": minor,
            "gitTreeState": "clean",
        }.items():
            flags += ["-X", f"{package}.{name}={value}"]
    flags += ["-X", f"helm.sh/helm/v4/internal/version.version={helm}"]
    # `helm template` and `helm lint` without a cluster judge charts by these
    for package, prefix in (("internal/version", "kubeClientVersion"), ("pkg/chart/common", "k8sVersion")):
        flags += ["-X", f"helm.sh/helm/v4/{package}.{prefix}Major={major}"]
        flags += ["-X", f"helm.sh/helm/v4/{package}.{prefix}Minor={minor}"]
    return " ".join(flags)


def kept(shelf: Path, name: str, build: Callable[[Path], None]) -> Path:
    """The directory of this key on a shelf, which is built first where it is not there; those of other keys go."""
    home = shelf / name
    if home.exists():
        return home
    with locked(shelf / "lock", "another build"):
        if not home.exists():
            build(home)
            for old in shelf.iterdir():
                if re.fullmatch("[0-9a-f]{16}", old.name) and old != home:
                    shutil.rmtree(old)
    return home


def built() -> Path:
    """The directory with the programs, which are built first where they are not there."""
    go = toolchain.find()
    name = key(sources(places.SOURCES), go.version)
    return kept(places.cache() / "kube", name, lambda home: _build(go, home))


def settings(go: toolchain.Go, workshop: Path) -> dict[str, str]:
    """The environment of a build, whose cache (3 GB for the node) stays after an interruption: the next goes on."""
    workshop.mkdir(exist_ok=True)
    environment = {
        "CGO_ENABLED": "0",
        "GOCACHE": str(workshop / "cache"),
        "GOTOOLCHAIN": "local",
        # the linker leaves out what debuggers read: compiling it would be a tenth of the work
        "GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false -trimpath -gcflags=all=-dwarf=false",
    }
    if go.environment:
        environment |= {"GOMODCACHE": str(workshop / "modules"), **go.environment}
    return environment


def _build(go: toolchain.Go, home: Path) -> None:
    workshop = home.parent / "workshop"
    environment = settings(go, workshop)
    if (free := shutil.disk_usage(workshop).free) < 6 << 30:
        raise LocalClusterError(
            f"the build needs 6 GB below {workshop}, and {free >> 30} GB are free: make room or set XDG_CACHE_HOME"
        )
    say(f"building the cluster's programs from source with {go.version}: five to ten minutes on two cores, once")
    with alive("downloading modules"):
        packages = programs.output(
            [go.command, "list", "-deps", "./..."], environment=environment, directory=places.SOURCES
        )
    partial = Path(tempfile.mkdtemp(prefix="partial-", dir=home.parent))
    try:
        flags = linker_flags((places.SOURCES / "go.mod").read_text())
        count = len(packages.splitlines())
        compiled(go, places.SOURCES, [f"-ldflags={flags}", "-o", str(partial / "kube"), "."], environment, count)
        compiled(go, places.SOURCES, ["-ldflags=-s -w", "-o", str(partial / "pause"), "./pause"], environment, 1)
        partial.chmod(0o755)
        partial.rename(home)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(workshop)
    say(f"built {home}")


def compiled(go: toolchain.Go, module: Path, arguments: list[str], environment: dict[str, str], packages: int) -> None:
    """Runs `go build`; `packages` is how many there are, for people who watch."""
    said: list[str] = []
    command = ["nice", str(go.command), "build", "-v", *arguments]
    with alive(f"compiling {arguments[-1]}", lambda: f"{len(said)} of at most {packages} packages"):
        environment = {**os.environ, **environment}
        with subprocess.Popen(command, cwd=module, env=environment, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None  # noqa: S101 - a pipe was asked for
            for line in process.stderr:
                said.append(line)  # noqa: PERF402 - the list is read while it grows
        if process.returncode:
            raise LocalClusterError(
                f"`go build` in {module} ended with status {process.returncode}:\n{''.join(said[-20:])}"
            )
