"""Redirects as servers write them."""

import ipaddress
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from deepseek_runtime.fetch.transport import Transport, origin, shown
from deepseek_runtime.job.errors import ConfigurationError


@contextmanager
def redirecting(location: bytes) -> Iterator[tuple[str, list[str]]]:
    """A server that answers /start with that Location and anything else with nothing; paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            head = b"302 Found\r\nLocation: " + location if self.path == "/start" else b"200 OK"
            self.wfile.write(b"HTTP/1.1 " + head + b"\r\nContent-Length: 0\r\n\r\n")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()


def _get(url: str) -> int:
    transport = Transport(url, lambda: None, [ipaddress.ip_network("127.0.0.0/8")])
    try:
        return transport.get(f"{url}/start").status
    finally:
        transport.close()


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/modèle/config.json", "/mod%C3%A8le/config.json"),
        ("/a b/config.json", "/a%20b/config.json"),
        ("/a%20b/c?d=(e)&f=g%2Fh~", "/a%20b/c?d=(e)&f=g%2Fh~"),
    ],
)
def test_a_redirect_is_followed_whether_it_is_quoted_or_not(location: str, path: str) -> None:
    with redirecting(location.encode()) as (url, asked):
        assert _get(url) == 200
    assert asked == ["/start", path]


@pytest.mark.parametrize("location", ["http://[::1/x", "//me:secret@[::1/x?signature=secret"])
def test_a_redirect_to_what_is_no_url_is_refused_by_both_addresses(location: str) -> None:
    with redirecting(location.encode()) as (url, asked), pytest.raises(ConfigurationError) as caught:
        _get(url)
    assert caught.value.reason == "UnsafeRedirect"
    assert f"{url}/start leads to " in caught.value.message
    assert "[::1/x, which is no URL" in caught.value.message
    assert "secret" not in caught.value.message
    assert asked == ["/start"]


@pytest.mark.parametrize("url", ["http://[::1/x", "https://a:99999/", "ftp://a/", "http://me:secret@[::1/x?secret"])
def test_what_is_no_url_is_no_endpoint(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is no http or https URL without credentials") as caught:
        origin(url)
    assert caught.value.reason == "InvalidConfig"
    assert "secret" not in caught.value.message


def test_a_url_is_shown_without_what_may_be_secret() -> None:
    assert shown("https://me:secret@a.example:1/b?c=d") == "https://a.example:1/b"
