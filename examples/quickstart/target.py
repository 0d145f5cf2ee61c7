"""Which cluster the quickstart and the tests use: DEEPSEEK_CLUSTER says `local` (the default), `existing` or `kind`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCAL = [sys.executable, "-m", "local"]
KEYS = ("operator", "gateway", "runtime")
KIND_CLUSTER = "deepseek"


class Failed(Exception):  # noqa: N818 it ends the demonstration, it is not a defect of it
    """Ends the demonstration; the message is what the user reads."""


@dataclass(frozen=True)
class Target:
    """A cluster: its clients, and the name under which it finds the images."""

    kind: str
    kubectl: list[str]
    helm: list[str]
    registry: str = "localhost"
    tag: str = "dev"
    pushes: bool = False
    """Whether the images are built here and pushed to the registry, or are there."""

    @property
    def is_local(self) -> bool:
        """Whether the pods' processes and nodes are this machine's to look at and to end."""
        return self.kind == "local"

    def repository(self, key: str) -> str:
        """The name of an image without its tag."""
        return f"{self.registry}/deepseek-{key}"

    def image(self, key: str) -> str:
        """The full name of an image."""
        return f"{self.repository(key)}:{self.tag}"

    def values(self) -> list[str]:
        """What helm is told about the images, and about storage where it is scarce."""
        if self.kind != "existing":
            return ["--values", str(ROOT / "local" / "values.yaml")]
        words = []
        for key in KEYS:
            words += ["--set", f"{key}.image.repository={self.repository(key)},{key}.image.tag={self.tag}"]
            if self.pushes:  # the same tag, other content
                words += ["--set", f"{key}.image.pullPolicy=Always"]
        return words


def choose(
    environment: Mapping[str, str],
    which: Callable[[str], str | None] = shutil.which,
    build: Callable[[], str] = lambda: subprocess.check_output([*LOCAL, "build"], cwd=ROOT, text=True).strip(),
) -> Target:
    """The target that the environment names. An existing cluster is used only where two variables say so."""
    kind = environment.get("DEEPSEEK_CLUSTER") or "local"
    if kind == "local":
        return Target(kind, [*LOCAL, "kubectl"], [*LOCAL, "helm"])
    clients = {name: [name] if which(name) else [f"{build()}/kube", name] for name in ("kubectl", "helm")}
    if kind == "kind":
        context = f"kind-{KIND_CLUSTER}"
        return Target(kind, [*clients["kubectl"], "--context", context], [*clients["helm"], "--kube-context", context])
    if kind != "existing":
        raise Failed(f"DEEPSEEK_CLUSTER is local, existing or kind, not {kind!r}")
    if not environment.get("KUBECONFIG"):
        raise Failed("DEEPSEEK_CLUSTER=existing installs into the cluster of a kubeconfig: name it in KUBECONFIG")
    registry = environment.get("IMAGE_REGISTRY", "").rstrip("/")
    if not registry:
        raise Failed(
            "DEEPSEEK_CLUSTER=existing needs IMAGE_REGISTRY, where the cluster's nodes pull from (such as "
            "registry.example.com/team); with IMAGE_TAG too, images that are there are used and none are built"
        )
    tag = environment.get("IMAGE_TAG")
    return Target(kind, clients["kubectl"], clients["helm"], registry, tag or "dev", pushes=not tag)


@cache
def target() -> Target:
    """The target of this process, chosen once."""
    return choose(os.environ)
