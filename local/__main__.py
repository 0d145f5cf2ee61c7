"""Runs a command of the local cluster: `python3 -m local COMMAND`."""

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path

from local import places
from local.errors import LocalClusterError


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python3 -m local", description=__doc__)
    top.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help=f"the cluster's directory (default: ${places.STATE_VARIABLE}, else {places.default_state()})",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("build", help="build the cluster's programs, once")
    commands.add_parser("build-servers", help="build the servers that the integration tests talk to, once")
    up = commands.add_parser("up", help="start the cluster, or complete a start that was interrupted")
    up.add_argument("--gpus", type=int, metavar="N", help="offer N simulated nvidia.com/gpu on each node")
    up.add_argument("--nodes", type=int, metavar="N", help="have N nodes (default: as many as it had, at first 1)")
    down = commands.add_parser("down", help="end the cluster")
    down.add_argument("--purge", action="store_true", help="remove its state too")
    node = commands.add_parser("node", help="stop or start one of several nodes")
    node.add_argument("action", choices=["stop", "start"], help="stop: as a machine that loses its power")
    node.add_argument("name", metavar="NAME")
    commands.add_parser("status", help="say what runs; status 1 where the cluster is down")
    commands.add_parser("kubeconfig", help="print the path of the administrator's kubeconfig")
    for name in ("kubectl", "helm"):
        tool = commands.add_parser(
            name, help=f"{name} of the cluster's own version, on the cluster", add_help=False, prefix_chars="\0"
        )
        tool.add_argument("arguments", nargs=argparse.REMAINDER)
    needs = commands.add_parser("prerequisites", help="say what the machine lacks")
    needs.add_argument("--install", action="store_true", help="install it with apt-get (Debian, Ubuntu; root)")
    images = commands.add_parser("build-images", help="build the operator's, the gateway's and the runtime's image")
    images.add_argument(
        "--only", action="append", choices=["operator", "gateway", "runtime"], help="build this one (may be repeated)"
    )
    images.add_argument(
        "--flavour", choices=["cpu", "cuda"], default="cpu", help="of the runtime's image (default: cpu)"
    )
    push = commands.add_parser("push-images", help="push the built images to a registry, for another cluster")
    push.add_argument("--to", required=True, metavar="REGISTRY", help="as in registry.example.com/team")
    push.add_argument("--tag", default="dev", help="default: dev")
    load = commands.add_parser("load-image", help="put built images or image archives into the cluster")
    load.add_argument("names", nargs="+", metavar="NAME")
    return top


def main(words: list[str]) -> int:
    """Runs one command and returns its exit status."""
    arguments = parser().parse_args(words)
    # where Debian keeps what only root uses, and not every root's path leads
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    cluster = places.Cluster((arguments.state or places.default_state()).resolve())
    # each command loads what it needs: `kubectl` starts at once
    match arguments.command:
        case "kubectl" | "helm":
            _become(cluster, arguments.command, arguments.arguments)
        case "kubeconfig":
            print(cluster.kubeconfig)
        case "build" | "build-servers":
            print(import_module("local.build" if arguments.command == "build" else "local.servers").built())
        case "up":
            from local.up import up

            up(cluster, arguments.gpus, arguments.nodes)
        case "down":
            from local.down import down

            down(cluster, arguments.purge)
        case "node":
            from local import nodes

            (nodes.stop if arguments.action == "stop" else nodes.start)(cluster, arguments.name)
        case "status":
            from local.status import status

            return status(cluster)
        case "prerequisites":
            from local.prerequisites import report

            return report(arguments.install)
        case "build-images":
            from local.images.build import build_images

            build_images(arguments.only, arguments.flavour)
        case "push-images":
            from local.images.push import push_images

            push_images(arguments.to, arguments.tag)
        case "load-image":
            from local.images.load import load_images

            load_images(cluster, arguments.names)
    return 0


def _become(cluster: places.Cluster, program: str, arguments: list[str]) -> None:
    from local.kubectl import environment

    path = cluster.program(program)
    if not path.exists():
        from local.build import built

        path = built() / "kube"
        arguments = [program, *arguments]
    words = [program if path.name == program else "kube", *arguments]
    os.execve(path, words, {**os.environ, **environment(cluster)})  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LocalClusterError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
