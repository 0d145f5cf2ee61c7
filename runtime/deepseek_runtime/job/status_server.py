"""Port 9400 of a working pod: progress for the operator, metrics for Prometheus, health for the kubelet."""

import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from deepseek_runtime.job.progress import ProgressMeter
from deepseek_runtime.wire.paths import METRICS_PATH, PROGRESS_PATH, READY_PATH, STATUS_PORT
from deepseek_runtime.wire.proof import RefusedError, Verifier, check_body

LOG = logging.getLogger(__name__)

GAUGES = {
    "done": "Units of work done in this phase.",
    "total": "Units of work in this phase.",
    "remaining_seconds": "Time left in this phase.",
    "tokens_per_second": "Tokens worked on in a second.",
    "bytes_per_second": "Bytes worked on in a second.",
    "loss": "Training loss of the last step.",
    "learning_rate": "Learning rate of the last step.",
    "checkpoint_step": "Step of the newest checkpoint.",
}


class StatusServer:
    """A Reporter that answers GET /progress, /metrics, /healthz and /readyz from its own threads while it is entered.

    With a credential (a public key) the first two ask for a proof by its private half (wire.proof) and every address is
    listened on; without one it listens on the loopback address alone. A port that is taken is a line in the log: work
    goes on. `ready` is what /readyz says, for pods whose readiness is more than that they run. `poll`: seconds that
    leaving may take at most; a process wakes up so often for it.
    """

    def __init__(
        self,
        identity: str,
        credential: str | None = None,
        port: int = STATUS_PORT,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        poll: float = 0.1,
    ) -> None:
        self.ready = False
        self._poll = poll
        self._meter = ProgressMeter(identity, clock)
        self.update = self._meter.update
        self._verifier = Verifier(credential, wall_clock) if credential is not None else None
        self._asked_port = port
        self._server: ThreadingHTTPServer | None = None
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_ProgressCollector(self._meter))

    def register(self, collector: Collector) -> None:
        """Show more metrics: those of a registry of their own, for example."""
        self._registry.register(collector)

    @property
    def port(self) -> int | None:
        """The port that answers; None where none could be had."""
        return self._server.server_address[1] if self._server else None

    def __enter__(self) -> "StatusServer":
        try:
            self._server = _Server(self._asked_port, self._handler(), everywhere=self._verifier is not None)
        except OSError as error:
            LOG.warning("no status server: port=%d error=%s", self._asked_port, error.strerror)
            return self
        threading.Thread(target=self._server.serve_forever, args=(self._poll,), name="status", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, target: str, authorization: str | None) -> tuple[HTTPStatus, str, bytes]:
        """Status, content type and body of a GET."""
        path = target.partition("?")[0]
        if path == "/healthz":
            return HTTPStatus.OK, "text/plain", b"ok\n"
        if path == READY_PATH:
            status = HTTPStatus.OK if self.ready else HTTPStatus.SERVICE_UNAVAILABLE
            return status, "text/plain", b"ok\n" if self.ready else b"not yet\n"
        if path not in (PROGRESS_PATH, METRICS_PATH):
            return HTTPStatus.NOT_FOUND, "text/plain", b"there are /progress, /metrics, /healthz and /readyz\n"
        if self._verifier is not None:
            try:
                check_body(self._verifier.check("GET", target, authorization), b"")
            except RefusedError as error:
                return HTTPStatus.UNAUTHORIZED, "text/plain", f"{error}\n".encode()
        if path == METRICS_PATH:
            return HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", generate_latest(self._registry)
        return HTTPStatus.OK, "application/json", self._meter.snapshot().to_json().encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self.answer

        class Handler(BaseHTTPRequestHandler):
            timeout = 5  # seconds: a silent client does not keep its thread

            def do_GET(self) -> None:
                status, content_type, body = answer(self.path, self.headers.get("Authorization"))
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the name is http.server's
                """Nothing: a line for every pull would bury the Job's own."""

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler], *, everywhere: bool) -> None:
        self._dual = everywhere and socket.has_dualstack_ipv6()
        self.address_family = socket.AF_INET6 if self._dual else socket.AF_INET
        super().__init__(("" if everywhere else "127.0.0.1", port), handler)

    def server_bind(self) -> None:
        """Without http.server's look-up of the host's name, which can wait for a DNS server that is not there."""
        if self._dual:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are no event of the Job's."""


class _ProgressCollector(Collector):
    def __init__(self, meter: ProgressMeter) -> None:
        self._meter = meter

    def collect(self) -> Iterable[Metric]:
        """One gauge for each figure that the work has."""
        progress = self._meter.snapshot()
        for name, help_text in GAUGES.items():
            value = getattr(progress, name)
            if value is not None:
                gauge = GaugeMetricFamily(f"deepseek_job_{name}", help_text, labels=("phase", "unit"))
                gauge.add_metric((progress.phase, progress.unit), float(value))
                yield gauge
