"""The nodes as processes: how they are started, found and ended."""

import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from local import places
from local.errors import LocalClusterError
from local.places import Cluster, Node

_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process of this machine that runs a node's init script, or waits for it."""

    id: int
    home: Path
    is_init: bool


def marked(owner: Cluster | Node) -> list[Process]:
    """Processes whose last arguments are `--node HOME`; found so, a node needs no file that could be stale."""
    if isinstance(owner, Node):
        return [process for process in marked(owner.cluster) if process.home == owner.home]
    mark = re.compile(rb"\0--node\0(" + re.escape(os.fsencode(owner.state)) + rb"(?:/node\d)?)\0\Z")
    found = []
    for entry in _PROC.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            match = mark.search((entry / "cmdline").read_bytes())
            if match is None:
                continue
            status = (entry / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
        # its number in each PID namespace it is in: the node's process 1 is `<number here> 1`
        numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
        home = Path(os.fsdecode(match[1]))
        found.append(Process(int(entry.name), home, len(numbers) > 1 and numbers[-1] == "1"))
    return found


def init(node: Node) -> int | None:
    """The machine's number of the node's process 1, if the node is up."""
    return next((process.id for process in marked(node) if process.is_init), None)


def start(node: Node) -> int:
    """Starts the node and returns the machine's number of its process 1."""
    command = [
        "unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc", "--propagation", "slave",
        str(places.SOURCES / "init.sh"), "--node", str(node.home),
    ]  # fmt: skip
    with (node.logs / "init.log").open("wb") as log:
        outer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    while (number := init(node)) is None:
        if outer.poll() is not None:
            raise LocalClusterError(
                f"the node ended as it began: {(node.logs / 'init.log').read_text().strip()[-1000:]} "
                f"(this needs namespaces: run it as root, outside of restricted containers)"
            )
        time.sleep(0.02)
    # it outlives this command, which therefore must not wait for it
    outer.returncode = 0
    return number


def end(owner: Cluster | Node) -> None:
    """Ends every process of a node, or of all nodes of a cluster, until the kernel has dropped the last."""
    deadline = time.monotonic() + 30
    pending: set[int] = set()
    while found := {process.id for process in marked(owner)} | {number for number in pending if _exists(number)}:
        for number in found - pending:
            try:
                os.kill(number, signal.SIGKILL)
            except ProcessLookupError:
                continue
        # process 1 loses its arguments at once and itself only after all others of its namespace
        pending |= found
        if time.monotonic() > deadline:
            raise LocalClusterError(
                f"processes {sorted(found)} do not end though killed: see `ps -o pid,stat,wchan:30,args`"
            )
        time.sleep(0.02)


def _exists(number: int) -> bool:
    try:
        stat = (_PROC / str(number) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"
