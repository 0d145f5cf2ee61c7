"""The measured operator as a process: started, stopped, watched by the kernel's own accounts."""

import asyncio
import os
import signal
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from benchmarks.operators import Operator
from tests.integration.control_plane import free_port

_TICKS = os.sysconf("SC_CLK_TCK")
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in MB, now and at its highest."""

    now: float
    peak: float


class Process:
    """One at a time; `start` and `stop` may alternate."""

    def __init__(self, operator: Operator, log: Path) -> None:
        self._operator = operator
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    def spawn(self, kubeconfig: Path) -> None:
        """Start it, without waiting for anything."""
        self._port = free_port()
        environment = {**os.environ, **self._operator.environment(kubeconfig, self._port)}
        with self.log.open("ab") as log:
            command = list(self._operator.command)
            self._process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log)

    async def start(self, kubeconfig: Path, seconds: float = 300) -> float:
        """Start it and wait until it is ready; how long that took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.spawn(kubeconfig)
        while not await asyncio.to_thread(self.ready):
            if not self.alive or loop.time() - began > seconds:
                raise RuntimeError(f"{self._operator.name} is not ready:\n{self.log.read_text()[-3000:]}")
            await asyncio.sleep(0.05)
        return loop.time() - began

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    async def stop(self) -> None:
        """As a kubelet does: SIGTERM, and SIGKILL for what does not end within half a minute."""
        if self._process is None:
            return
        if self.alive:
            self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(self._process.wait, 30)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """At once."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def ready(self) -> bool:
        """Whether its probe answers 200."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{self._operator.ready}", timeout=2) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as refused:
            refused.close()
            return False
        except OSError:
            return False

    @property
    def cpu(self) -> float:
        """Seconds of processor time since it was started."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    @property
    def memory(self) -> Memory:
        """As the kernel counts it."""
        lines = Path(f"/proc/{self._pid}/status").read_text().splitlines()
        found = {
            key: int(rest.split()[0]) / 1000
            for key, _, rest in (line.partition(":") for line in lines)
            if key[:2] == "Vm"
        }
        return Memory(found["VmRSS"] * 1.024, found["VmHWM"] * 1.024)

    @property
    def _pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the operator has not been started")
        return self._process.pid
