"""The operator as a process, with the ServiceAccount that the chart gave it, and what the audit log says of it."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.integration.audit import Request, requests
from tests.integration.conftest import OPERATOR, RELEASE_NAMESPACE
from tests.integration.control_plane import ControlPlane, free_port

ROOT = Path(__file__).parents[2]


def wait(what: str, reached: Callable[[], bool], seconds: float) -> None:
    """Until something is reached; fails where it is not in time."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.1)


class OperatorProcess:
    """Started and stopped by hand; a stop is a SIGTERM and must end well."""

    def __init__(self, plane: ControlPlane, directory: Path) -> None:
        kubeconfig = plane.write_kubeconfig("operator", plane.token(OPERATOR))
        self._audit_log = plane.audit_log
        self._log = directory / "operator.log"
        self._health = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'runtime'}",
            "DEEPSEEK_NAMESPACE": RELEASE_NAMESPACE,
            "DEEPSEEK_HEALTH_PORT": str(self._health),
            "DEEPSEEK_METRICS_PORT": str(free_port()),
        }

    @property
    def log(self) -> str:
        """Everything that it has said."""
        return self._log.read_text()

    def start(self) -> None:
        """Returns when it is ready."""
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "deepseek_operator"]
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        try:
            wait("readiness", self._ready, 30)
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}\n{self.log[-4000:]}") from None

    def stop(self) -> int:
        """Its exit code after a SIGTERM."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=30)

    def kill(self) -> None:
        """At once, whatever it does."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def requests(self, since: int = 0) -> list[Request]:
        """Its requests, from a position in the audit log on."""
        return requests(self._audit_log, OPERATOR, since)

    def position(self) -> int:
        """The end of the audit log."""
        return self._audit_log.stat().st_size

    def settle(self, quiet: float = 1.0, seconds: float = 30.0) -> None:
        """Until it has written nothing for a while."""
        deadline = time.monotonic() + seconds
        while True:
            position = self.position()
            time.sleep(quiet)
            if not any(request.write for request in self.requests(position)):
                return
            assert time.monotonic() < deadline, f"it does not come to rest:\n{self.log[-4000:]}"

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the operator ended with status {self._process.poll()}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._health}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as refused:
            refused.close()
            return False
        except OSError:
            return False
