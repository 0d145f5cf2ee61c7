"""The store in which buildah keeps images, and how its files are read: no archive is packed or unpacked."""

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import places, programs
from local.errors import LocalClusterError
from local.programs import Argument

# an image built by hand is found too
SYSTEM = Path("/var/lib/containers/storage")


def root() -> Path:
    """The project's own store: beside the cluster's files, so that layers are linked, not copied."""
    return places.cache() / "images" / "storage"


@dataclass(frozen=True)
class Layer:
    """One layer: the digest of its tar archive and the directory of its files, with overlayfs' whiteouts."""

    diff_id: str
    directory: Path


@dataclass(frozen=True)
class Image:
    """An image of the store."""

    config: bytes
    layers: Sequence[Layer]


def buildah(*arguments: Argument) -> str:
    """Runs buildah on the project's store; its mounts end with it."""
    return programs.output(["unshare", "--mount", "buildah", *arguments], environment=environment(), bound=True)


def environment() -> dict[str, str]:
    """Names the store to buildah."""
    settings = places.cache() / "images" / "storage.conf"
    settings.parent.mkdir(parents=True, exist_ok=True)
    # no metacopy: a layer's files must be whole in its own directory
    settings.write_text(
        "[storage]\n"
        'driver = "overlay"\n'
        f'graphroot = "{root()}"\n'
        f'runroot = "/run/deepseek-operator-images-{os.getuid()}"\n'
        "[storage.options.overlay]\n"
        'mountopt = "nodev"\n'
    )
    return {"CONTAINERS_STORAGE_CONF": str(settings)}


def find(store: Path, name: str) -> Image | None:
    """An image by its full name, or None where this store has no such image."""
    listing = store / "overlay-images" / "images.json"
    if not listing.exists():
        return None
    record = next((image for image in json.loads(listing.read_text()) if name in image.get("names", [])), None)
    if record is None:
        return None
    # the config is kept under its digest, which is no file name
    encoded = base64.b64encode(f"sha256:{record['id']}".encode()).decode()
    config = (listing.parent / record["id"] / f"={encoded}").read_bytes()
    records = {layer["id"]: layer for layer in json.loads((store / "overlay-layers" / "layers.json").read_text())}
    layers = chain(records, record["layer"], store)
    if [layer.diff_id for layer in layers] != json.loads(config)["rootfs"]["diff_ids"]:
        raise LocalClusterError(f"{name} in {store} names other layers than it has: build it again")
    return Image(config, layers)


def chain(records: dict[str, dict[str, Any]], top: str, store: Path) -> list[Layer]:
    """The layers from the lowest to `top`, following each record's parent."""
    found: list[Layer] = []
    at: str | None = top
    while at:
        record = records[at]
        found.append(Layer(record["diff-digest"], store / "overlay" / at / "diff"))
        at = record.get("parent")
    return found[::-1]
