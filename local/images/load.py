"""Puts images into the cluster: from the builder's store by links, from Docker or an archive by import."""

import subprocess
from pathlib import Path

from local import archive, containerd, process
from local.containerd import ctr
from local.errors import LocalClusterError
from local.images import docker, snapshots, storage
from local.images.recipes import full_name
from local.locks import locked
from local.places import Cluster
from local.progress import say

# what stands for a layer whose snapshot is there: an archive of nothing
_EMPTY = archive.tar({})


def load_images(cluster: Cluster, names: list[str]) -> None:
    """Loads each image by its name or short name, or from an archive that `docker save` or buildah wrote."""
    if process.init(cluster) is None:
        raise LocalClusterError(f"the cluster of {cluster.state} is not up: run `python3 -m local up`")
    with locked(cluster.lock, "another command on this cluster"):
        for name in names:
            if Path(name).is_file():
                ctr(cluster, "images", "import", "--digests=false", Path(name).absolute())
                say(f"loaded the archive {name}")
            else:
                _load(cluster, full_name(name))


def _load(cluster: Cluster, name: str) -> None:
    before = containerd.images(cluster)
    if docker.has(name):
        _from_docker(cluster, name)
    elif image := storage.find(storage.root(), name) or storage.find(storage.SYSTEM, name):
        _from_store(cluster, name, image, before.get(name))
    else:
        places = f"{storage.root()}, {storage.SYSTEM} or Docker"
        raise LocalClusterError(f"no image {name} in {places}: run `python3 -m local build-images`")
    for stale in superseded(before, containerd.images(cluster), name):
        ctr(cluster, "images", "rm", stale)


def superseded(before: dict[str, str], after: dict[str, str], name: str) -> list[str]:
    """Names to remove once `name` means another image: those that Kubernetes gave the old one, unless it has others.

    Kubernetes' own name of an image is its config's digest; it would keep the old one's snapshots for ever.
    """
    old = before.get(name)
    if old is None or after.get(name) == old:
        return []
    names = [other for other, digest in after.items() if digest == old]
    return names if all(other.startswith("sha256:") for other in names) else []


def _from_store(cluster: Cluster, name: str, image: storage.Image, present: str | None) -> None:
    packed = archive.write(name, image.config, [_EMPTY] * len(image.layers))
    if present == archive.manifest_digest(image.config, [_EMPTY] * len(image.layers)):
        say(f"{name} is there already")
        return
    made = snapshots.place(cluster, image.layers)
    ctr(cluster, "images", "import", "--digests=false", "-", stdin=packed)
    snapshots.release(cluster, made)
    say(f"loaded {name}: {len(made)} of {len(image.layers)} layers were new")


def _from_docker(cluster: Cluster, name: str) -> None:
    with subprocess.Popen(["docker", "save", name], stdout=subprocess.PIPE) as save:
        done = subprocess.run(
            ["ctr", "--address", cluster.socket, "--namespace", "k8s.io", "images", "import", "--digests=false", "-"],
            stdin=save.stdout,
            capture_output=True,
            text=True,
            check=False,
        )
    if save.returncode or done.returncode:
        raise LocalClusterError(f"`docker save {name}` could not be imported: {done.stderr.strip()}")
    say(f"loaded {name} from Docker")
