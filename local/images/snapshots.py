"""Layers as snapshots of a node's containerd, linked or copied from the builder's store.

containerd opens no layer whose snapshot exists, so an image is its snapshots, its config, and a manifest
whose layers are empty. Whiteouts have one form in both stores: overlayfs' own."""

import hashlib
import os
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from local import programs
from local.containerd import ctr
from local.errors import LocalClusterError
from local.images.storage import Layer
from local.places import Node

# the label that keeps a snapshot until an image refers to it
_ROOT_LABEL = "containerd.io/gc.root"


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """The name of each layer on top of those beneath it, as the OCI image specification defines it."""
    return list(
        accumulate(diff_ids, lambda below, top: "sha256:" + hashlib.sha256(f"{below} {top}".encode()).hexdigest())
    )


def place(node: Node, layers: Sequence[Layer]) -> list[str]:
    """Makes the snapshots that are missing and returns their names."""
    present = {line.split()[0] for line in ctr(node, "snapshots", "ls").splitlines()[1:] if line.strip()}
    made: list[str] = []
    parent: list[str] = []
    for layer, name in zip(layers, chain_ids([layer.diff_id for layer in layers]), strict=True):
        if name not in present:
            _place(node, layer.directory, name, parent)
            made.append(name)
        parent = [name]
    return made


def release(node: Node, names: Sequence[str]) -> None:
    """Lets the snapshots go with the last image that refers to them."""
    for name in names:
        ctr(node, "snapshots", "label", name, f"{_ROOT_LABEL}=")


def _place(node: Node, source: Path, name: str, parent: list[str]) -> None:
    key = f"load-{os.getpid()}-{name[7:19]}"
    ctr(node, "snapshots", "prepare", key, *parent)
    try:
        target = upper(ctr(node, "snapshots", "mounts", "unused", key))
        linked = source.stat().st_dev == target.stat().st_dev
        programs.output(["cp", "--archive", *(["--link"] if linked else []), f"{source}/.", target], bound=True)
        # the builder's own root directory may be closed to others
        target.chmod(0o755)
        ctr(node, "snapshots", "commit", name, key)
    except BaseException:
        programs.succeeds(["ctr", "--address", node.socket, "--namespace", "k8s.io", "snapshots", "remove", key])
        raise


def upper(mount: str) -> Path:
    """The directory to write to, out of the mount command that `ctr snapshots mounts` prints."""
    words = mount.replace(",", " ").split()
    for word in words:
        # a first layer's mount is a bind of its directory, any other is an overlay
        if word.startswith("upperdir="):
            return Path(word.removeprefix("upperdir="))
    for word in words:
        if word.startswith("/") and word.endswith("/fs"):
            return Path(word)
    raise LocalClusterError(f"containerd's snapshotter is not overlayfs: {mount}")
