"""An image of one node on another, its layers linked: nothing is packed, and nothing is stored twice."""

import json
import os
import re
from pathlib import Path

from local.containerd import ctr, images
from local.images import place
from local.images.snapshots import chain_ids
from local.images.storage import Image, Layer
from local.places import Node


def copy(source: Node, target: Node, name: str) -> None:
    """Puts an image of one node on another, unless it is there."""
    place.place(target, name, _image(source, images(source)[name]))


def _image(node: Node, digest: str) -> Image:
    manifest = json.loads(ctr(node, "content", "get", digest))
    if "manifests" in manifest:
        # an index names other things than images too; the node has unpacked the first
        return _image(node, manifest["manifests"][0]["digest"])
    config = ctr(node, "content", "get", manifest["config"]["digest"]).encode()
    diff_ids = json.loads(config)["rootfs"]["diff_ids"]
    # what lies beneath a new snapshot is the image
    key = f"copy-{os.getpid()}"
    ctr(node, "snapshots", "prepare", key, chain_ids(diff_ids)[-1])
    try:
        directories = lower(ctr(node, "snapshots", "mounts", "unused", key))
    finally:
        ctr(node, "snapshots", "remove", key)
    return Image(config, [Layer(*layer) for layer in zip(diff_ids, directories, strict=True)])


def lower(mount: str) -> list[Path]:
    """The directories of the layers, lowest first, out of the mount command that `ctr snapshots mounts` prints."""
    found = re.search(r"lowerdir=([^,\s]+)", mount)
    return [Path(path) for path in found[1].split(":")][::-1] if found else []
