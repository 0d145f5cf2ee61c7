"""HTTP GET with what a fetch must be sure of: the address, who sees the token, and that a cut answer is noticed.

The standard library's client, because its sockets read into a buffer that is hashed and written while other threads
run, its connections can be given a socket that has been checked, and it follows no redirect by itself.
"""

import http.client
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from email.message import Message
from email.utils import parsedate_to_datetime
from functools import cache
from string import punctuation
from types import MappingProxyType, TracebackType
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from deepseek_runtime.fetch.addresses import READ_SECONDS, Network, connect, vouched
from deepseek_runtime.fetch.troubles import StoppedError, TransientError
from deepseek_runtime.job.errors import ConfigurationError

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_USER_AGENT = "deepseek-operator"

Origin = tuple[str, str, int]
"""Scheme, host and port: a token stays with the origin that it was given for."""


def origin(url: str) -> Origin:
    """The origin of a URL; ConfigurationError `InvalidConfig` for what is no http(s) URL."""
    refusal = ConfigurationError("InvalidConfig", f"{shown(url)!r} is no http or https URL without credentials.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise refusal from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise refusal
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80)


def shown(url: str) -> str:
    """A URL for people: without its query, which may carry a signature."""
    try:
        parts: SplitResult = urlsplit(url)
    except ValueError:  # an address in brackets that is none
        return re.sub("//[^/]*@", "//", url.partition("?")[0])
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Reply:
    """An answer whose body its owner reads. Use it in a `with` block: a body that is not read ends the connection."""

    def __init__(self, response: http.client.HTTPResponse, connection: "_Connection", url: str) -> None:
        self.status = response.status
        self.headers = response.headers
        self.url = url
        self._response = response
        self._connection = connection

    @property
    def whole(self) -> bool:
        """Whether the server gives all of it, whatever part was asked for."""
        return self.status == 200

    @property
    def size(self) -> int | None:
        """Bytes of the body that are still to come, where the server says so."""
        return self._response.length

    def into(self, buffer: memoryview) -> int:
        """Fill a buffer as far as the body goes; 0 at its end. Errors: TransientError."""
        try:
            return self._response.readinto(buffer)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _trouble(self.url, error) from error

    def text(self, limit: int) -> bytes:
        """The whole body. Errors: TransientError for a cut one; ConfigurationError for one above the limit in bytes."""
        expected = self.size
        try:
            body = self._response.read(limit + 1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _trouble(self.url, error) from error
        if len(body) > limit:
            raise ConfigurationError("InvalidSource", f"{shown(self.url)} answers with more than {limit:,} bytes.")
        if expected is not None and len(body) < expected:
            raise TransientError("SourceUnreachable", f"the answer of {shown(self.url)} was cut")
        return body

    def __enter__(self) -> "Reply":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._response.isclosed():
            self._connection.close()
            self._response.close()  # of a server that closes after each answer, the connection is the response's


class Transport:
    """The connections of one thread, kept open from request to request. `abort` may be called by any thread."""

    def __init__(self, endpoint: str, authorization: Callable[[], str | None], allowed: Sequence[Network]) -> None:
        """`authorization` gives the header's value for the endpoint, which may change from request to request."""
        self._endpoint = origin(endpoint)
        self._authorization = authorization
        self._allowed = allowed
        self._connections: dict[Origin, _Connection] = {}
        self._lock = threading.Lock()
        self._aborted = False

    def get(self, url: str, headers: Mapping[str, str] = MappingProxyType({})) -> Reply:
        """The answer at the end of the redirects, whatever its status.

        The token goes to the endpoint's own origin alone, and not again once a redirect has led elsewhere. Errors:
        TransientError, ConfigurationError `AddressRefused`, `UnsafeRedirect`.
        """
        token = self._authorization()
        for _ in range(MAX_REDIRECTS + 1):
            target = origin(url)
            if target != self._endpoint:
                token = None
            reply = self._request(target, url, headers, token)
            if reply.status not in _REDIRECTS or "Location" not in reply.headers:
                return reply
            with reply:
                reply.text(1 << 20)
            following = _following(url, reply.headers["Location"])
            if target[0] == "https" and origin(following)[0] != "https":
                raise ConfigurationError("UnsafeRedirect", f"{shown(url)} leads from https to {shown(following)}.")
            url = following
        raise ConfigurationError("UnsafeRedirect", f"{shown(url)} leads from one address to the next without end.")

    def abort(self) -> None:
        """End every connection now, so that a thread that reads from one wakes up."""
        with self._lock:
            self._aborted = True
            for connection in self._connections.values():
                connection.abort()

    def close(self) -> None:
        """Close every connection."""
        for connection in self._connections.values():
            connection.close()

    def _request(self, target: Origin, url: str, headers: Mapping[str, str], token: str | None) -> Reply:
        connection = self._connection(target)
        kept = connection.sock is not None
        try:
            try:
                response = self._ask(connection, url, headers, token)
            except (http.client.RemoteDisconnected, ConnectionError):
                if not kept:
                    raise
                connection.close()  # the server closed a connection that was kept: that says nothing about it
                response = self._ask(connection, url, headers, token)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _trouble(url, error) from error
        except (TransientError, ConfigurationError):
            connection.close()
            raise
        return Reply(response, connection, url)

    def _ask(
        self, connection: "_Connection", url: str, headers: Mapping[str, str], token: str | None
    ) -> http.client.HTTPResponse:
        if connection.sock is None:
            connection.connect()
        sent = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", **headers}
        if token is not None:
            connection.may_see_token()
            sent["Authorization"] = token
        parts = urlsplit(url)
        connection.request("GET", f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}", headers=sent)
        return connection.getresponse()

    def _connection(self, target: Origin) -> "_Connection":
        with self._lock:
            if self._aborted:
                raise StoppedError
            if target not in self._connections:
                self._connections[target] = _Connection(target, self._allowed)
            return self._connections[target]


def _following(url: str, location: str) -> str:
    """Where a redirect leads. Errors: ConfigurationError `UnsafeRedirect` for what is no URL.

    Blanks and UTF-8, which http.client reads as Latin-1, stand unquoted in what some servers write.
    """
    quoted = quote(location.encode("latin-1"), safe=punctuation)
    try:
        return urljoin(url, quoted)
    except ValueError as error:
        raise ConfigurationError(
            "UnsafeRedirect", f"{shown(url)} leads to {shown(quoted)}, which is no URL. Use another address."
        ) from error


class _Connection(http.client.HTTPConnection):
    """A connection to the address that was checked; TLS is proven against the name."""

    def __init__(self, target: Origin, allowed: Sequence[Network]) -> None:
        self._secure, host, port = target[0] == "https", target[1], target[2]
        if self._secure:
            self.default_port = 443  # for the Host header
        super().__init__(host, port, timeout=READ_SECONDS)
        self._allowed = allowed
        self._clear: ipaddress.IPv4Address | ipaddress.IPv6Address | None = None

    def connect(self) -> None:
        plain, address = connect(self.host, self.port, self._allowed)
        self._clear = None if self._secure else address
        try:
            self.sock = _tls().wrap_socket(plain, server_hostname=self.host) if self._secure else plain
        except ssl.SSLCertVerificationError as error:
            plain.close()
            raise ConfigurationError(
                "SourceUntrusted", f"The certificate of {self.host} is not trusted: {error.verify_message}."
            ) from error
        except OSError:
            plain.close()
            raise

    def may_see_token(self) -> None:
        """ConfigurationError `InvalidConfig` where a token would go in the clear to an address not vouched for."""
        if self._clear is not None and not vouched(self._clear, self._allowed):
            raise ConfigurationError(
                "InvalidConfig",
                f"A token is not sent to {self.host} over http. Use an https endpoint, or leave the Secret out.",
            )

    def abort(self) -> None:
        """Wake a thread that reads."""
        sock = self.sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


@cache
def _tls() -> ssl.SSLContext:
    """One for all connections: reading the authorities' certificates takes longer than a small file."""
    return ssl.create_default_context()


def retry_after(headers: Message, now: float) -> float | None:
    """Seconds that a server asks to wait (RFC 9110, section 10.2.3): a number, or a date."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError):
        return None


def _trouble(url: str, error: BaseException) -> TransientError:
    what = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return TransientError("SourceUnreachable", f"{shown(url)}: {what[:300]}")
