"""A node's container store, through containerd's own client."""

from local import programs
from local.places import Node
from local.programs import Argument


def ctr(node: Node, *arguments: Argument, stdin: bytes | None = None) -> str:
    """Runs `ctr` in the namespace of Kubernetes' images and returns what it printed."""
    return programs.output(
        ["ctr", "--address", node.socket, "--namespace", "k8s.io", *arguments], stdin=stdin, bound=True
    )


def answers(node: Node) -> bool:
    """Whether containerd runs."""
    return programs.succeeds(["ctr", "--address", node.socket, "version"], bound=True)


def images(node: Node) -> dict[str, str]:
    """The digest of each name's manifest."""
    table = ctr(node, "images", "ls").splitlines()[1:]
    return {row[0]: row[2] for line in table if len(row := line.split()) > 2}
