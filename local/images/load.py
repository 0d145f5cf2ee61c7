"""Puts images into the cluster: from the builder's store by links, from Docker or an archive by import."""

import subprocess
from pathlib import Path

from local import containerd, process
from local.containerd import ctr
from local.errors import LocalClusterError
from local.images import copies, docker, storage
from local.images.place import forget_superseded, place
from local.images.recipes import full_name
from local.locks import locked
from local.places import Cluster, Node
from local.progress import say


def load_images(cluster: Cluster, names: list[str]) -> None:
    """Loads each image by its name or short name, or from an archive that `docker save` or buildah wrote."""
    first = cluster.first
    if process.init(first) is None:
        raise LocalClusterError(f"the cluster of {cluster.state} is not up: run `python3 -m local up`")
    others = [node for node in cluster.nodes[1:] if process.init(node) is not None]
    with locked(cluster.lock, "another command on this cluster"):
        for name in names:
            loaded = _from_archive(first, Path(name)) if Path(name).is_file() else [_load(first, full_name(name))]
            for node in others:
                for image in loaded:
                    copies.copy(first, node, image)


def _load(node: Node, name: str) -> str:
    if docker.has(name):
        before = containerd.images(node)
        _from_docker(node, name)
        forget_superseded(node, before, name)
    elif image := storage.find(storage.root(), name) or storage.find(storage.SYSTEM, name):
        place(node, name, image)
    else:
        places = f"{storage.root()}, {storage.SYSTEM} or Docker"
        raise LocalClusterError(f"no image {name} in {places}: run `python3 -m local build-images`")
    return name


def _from_archive(node: Node, file: Path) -> list[str]:
    before = containerd.images(node)
    ctr(node, "images", "import", "--digests=false", file.absolute())
    say(f"loaded the archive {file}")
    return [name for name, digest in containerd.images(node).items() if before.get(name) != digest]


def _from_docker(node: Node, name: str) -> None:
    with subprocess.Popen(["docker", "save", name], stdout=subprocess.PIPE) as save:
        done = subprocess.run(
            ["ctr", "--address", node.socket, "--namespace", "k8s.io", "images", "import", "--digests=false", "-"],
            stdin=save.stdout,
            capture_output=True,
            text=True,
            check=False,
        )
    if save.returncode or done.returncode:
        raise LocalClusterError(f"`docker save {name}` could not be imported: {done.stderr.strip()}")
    say(f"loaded {name} from Docker")
