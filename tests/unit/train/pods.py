"""Pods of one run as processes of this machine: what the container of each would start, on the loopback."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from deepseek_runtime.train import stage
from deepseek_runtime.wire.job import TrainJob

RUNTIME = Path(stage.__file__).parents[2]


class Pod:
    """One pod; `end` is what the Job's controller sees of it."""

    def __init__(self, job: TrainJob, index: int, directory: Path) -> None:
        self.index, self.job, self.directory = index, job, directory
        self.starts = 0
        self.start()

    def start(self) -> None:
        """A new pod of the same index."""
        self.starts += 1
        self.log = self.directory / f"pod-{self.index}-{self.starts}.log"
        self.said = self.directory / f"pod-{self.index}-{self.starts}.json"
        self.said.touch()
        variables = {"JOB_COMPLETION_INDEX": str(self.index), "DEEPSEEK_JOB": self.job.to_json()}
        variables |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": str(RUNTIME)}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deepseek_runtime", "--status-port", "0", "--termination-log", self.said],
                env={**os.environ, **variables},
                stdout=log,
                stderr=log,
            )

    def step(self) -> int:
        """Of the newest checkpoint."""
        found = Path(self.job.output, "checkpoints", "pretrain").glob("step-*")
        return max((int(path.name.removeprefix("step-")) for path in found), default=0)

    def result(self) -> dict[str, Any]:
        """Its termination message."""
        said: dict[str, Any] = json.loads(self.said.read_text())
        return said


def descendants(parent: int, module: str) -> list[int]:
    """Processes below a process that run a module."""
    found = []
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except FileNotFoundError:  # it has ended
        return []
    for child in children:
        with suppress(FileNotFoundError):
            if module.encode() in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                found.append(int(child))
        found += descendants(int(child), module)
    return found


def free_port() -> int:
    """The first of two neighbouring ports that nobody uses now."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("", port + 1))
            except (OSError, OverflowError):
                continue
            return port


@contextmanager
def running(job: TrainJob, directory: Path) -> Iterator[list[Pod]]:
    """All pods of a run; none is left afterwards."""
    directory.mkdir(parents=True, exist_ok=True)
    job = job.model_copy(update={"rendezvous": f"127.0.0.1:{free_port()}"})
    pods = [Pod(job, index, directory) for index in range(job.nodes)]
    try:
        yield pods
    finally:
        for pod in pods:
            for process in descendants(pod.process.pid, "deepseek_runtime.train.group"):
                os.kill(process, 9)
            pod.process.kill()
            pod.process.wait()


def wait(what: str, pods: list[Pod], reached: Callable[[], bool], timeout: float = 120.0) -> float:
    """Seconds until it was so; fails with the ends of the logs."""
    start = time.monotonic()
    while not reached():
        if time.monotonic() - start > timeout:
            logs = "\n".join(f"--- {pod.log.name}\n{pod.log.read_text()[-1500:]}" for pod in pods)
            raise AssertionError(f"{what}: not within {timeout:.0f} s\n{logs}")
        time.sleep(0.05)
    return time.monotonic() - start
