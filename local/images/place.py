"""An image put on a node by its layers' directories."""

from local import archive, containerd
from local.containerd import ctr
from local.images import snapshots
from local.images.storage import Image
from local.places import Node
from local.progress import say

# what stands for a layer whose snapshot is there: an archive of nothing
_EMPTY = archive.tar({})


def place(node: Node, name: str, image: Image) -> None:
    """Links the layers that are missing and gives the image its name; what the name meant before is forgotten."""
    before = containerd.images(node)
    empty = [_EMPTY] * len(image.layers)
    if before.get(name) == archive.manifest_digest(image.config, empty):
        say(f"{name} is on {node.name} already")
        return
    made = snapshots.place(node, image.layers)
    ctr(node, "images", "import", "--digests=false", "-", stdin=archive.write(name, image.config, empty))
    snapshots.release(node, made)
    forget_superseded(node, before, name)
    say(f"loaded {name} on {node.name}: {len(made)} of {len(image.layers)} layers were new")


def forget_superseded(node: Node, before: dict[str, str], name: str) -> None:
    """Removes what only Kubernetes still calls by the digest that a name had."""
    for stale in superseded(before, containerd.images(node), name):
        ctr(node, "images", "rm", stale)


def superseded(before: dict[str, str], after: dict[str, str], name: str) -> list[str]:
    """Names to remove once `name` means another image: those that Kubernetes gave the old one, unless it has others.

    Kubernetes' own name of an image is its config's digest; it would keep the old one's snapshots for ever.
    """
    old = before.get(name)
    if old is None or after.get(name) == old:
        return []
    names = [other for other, digest in after.items() if digest == old]
    return names if all(other.startswith("sha256:") for other in names) else []
