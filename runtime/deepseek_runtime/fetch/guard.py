"""A way out for a library that makes its own connections: a proxy on the loopback address that obeys the same rules.

The library resolves no name and connects to nothing but this proxy, so the address of every connection is decided
where it is made (`addresses.connect`). TLS goes through it unopened (CONNECT, RFC 9110, section 9.3.6); a request in
the clear is passed on as it is, in absolute form, which every server must accept (RFC 9112, section 3.2.2).
"""

import selectors
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit

from deepseek_runtime.fetch.addresses import Network, connect, vouched
from deepseek_runtime.fetch.troubles import TransientError
from deepseek_runtime.job.errors import ConfigurationError

_HEAD = 64 << 10
_BLOCK = 256 << 10


class Guard:
    """The proxy, until the end of its `with` block. Safe to use from threads."""

    def __init__(self, allowed: Sequence[Network], *, secret: bool) -> None:
        """`secret`: requests carry credentials, which go in the clear only to addresses that somebody vouched for."""
        self._allowed, self._secret = allowed, secret
        self._refusal: ConfigurationError | TransientError | None = None
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._threads = [threading.Thread(target=self._accept, name="guard", daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """Of the proxy."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def refusal(self) -> ConfigurationError | TransientError | None:
        """Why a connection was not made, once, for whoever sees the library fail."""
        with self._lock:
            refusal, self._refusal = self._refusal, None
            return refusal

    def cut(self) -> None:
        """End every connection there is, so that whoever reads from one wakes up."""
        with self._lock:
            for sock in self._open:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> "Guard":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed = True
        self.cut()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), name="guard", daemon=True)
            self._threads = [old for old in self._threads if old.is_alive()] + [thread]
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if not self._keep(client):
                return
            try:
                head = _head(client)
                server = self._through(head)
            except (ConfigurationError, TransientError) as error:
                with self._lock:
                    self._refusal = error
                client.sendall(b"HTTP/1.1 502 Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            finally:
                self._drop(client)
            with server:
                if head.startswith(b"CONNECT "):
                    client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                else:
                    server.sendall(head)
                if self._keep(client) and self._keep(server):
                    try:
                        _pump(client, server)
                    finally:
                        self._drop(client)
                        self._drop(server)

    def _through(self, head: bytes) -> socket.socket:
        """A connection to where a request goes. Errors: those of `connect`; ConfigurationError `InvalidConfig`."""
        method, target = head.split(b" ", 2)[:2]
        tunnel = method == b"CONNECT"
        parts = urlsplit(f"//{target.decode('ascii')}" if tunnel else target.decode("ascii"))
        host = parts.hostname or ""
        server, address = connect(host, parts.port or (443 if tunnel else 80), self._allowed)
        if self._secret and not tunnel and not vouched(address, self._allowed):
            server.close()
            raise ConfigurationError(
                "InvalidConfig",
                f"Credentials are not sent to {host} over http. Use an https endpoint, or leave the Secret out.",
            )
        return server

    def _keep(self, sock: socket.socket) -> bool:
        with self._lock:
            self._open.add(sock)
            return not self._closed

    def _drop(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.discard(sock)


def _head(client: socket.socket) -> bytes:
    """The first request up to the end of its header, and what came with it."""
    head = b""
    while b"\r\n\r\n" not in head:
        block = client.recv(_HEAD)
        head += block
        if not block or len(head) > _HEAD:
            raise TransientError("SourceUnreachable", "a request ended within its header")
    return head


def _pump(client: socket.socket, server: socket.socket) -> None:
    """Carry bytes both ways until either side ends."""
    buffer = memoryview(bytearray(_BLOCK))
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ, server)
        selector.register(server, selectors.EVENT_READ, client)
        while True:
            for key, _ in selector.select():
                reading = client if key.data is server else server
                count = reading.recv_into(buffer)
                if count == 0:
                    return
                key.data.sendall(buffer[:count])
