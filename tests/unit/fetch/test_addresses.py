"""Nothing within a cluster, a machine or a cloud's metadata service is fetched from, however it is named."""

import ipaddress
import socket
from email.message import Message
from unittest import mock

import pytest
from deepseek_runtime.fetch import addresses
from deepseek_runtime.fetch.addresses import connect, permitted
from deepseek_runtime.fetch.transport import Transport, retry_after
from deepseek_runtime.fetch.troubles import Patience, Retries, StoppedError, TransientError
from deepseek_runtime.job.errors import ConfigurationError, JobError

EVERYTHING = tuple(map(ipaddress.ip_network, ("0.0.0.0/0", "::/0")))


@pytest.mark.parametrize("address", ["1.1.1.1", "108.138.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert permitted(ipaddress.ip_address(address), ())


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.96.0.1", "172.16.9.9", "192.168.1.1", "100.64.0.1", "::1", "fd00::1",
        "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "2001:0:1::1", "198.18.0.1", "240.0.0.1",
    ],
)  # fmt: skip
def test_private_addresses_need_an_administrator(address: str) -> None:
    assert not permitted(ipaddress.ip_address(address), ())
    assert permitted(ipaddress.ip_address(address), EVERYTHING)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "fe80::1",
        "fec0::1",
        "168.63.129.16",
        "0.0.0.0",  # noqa: S104
        "::",
        "224.0.0.1",
        "ff02::1",
        "::ffff:169.254.169.254",
    ],
)
def test_some_are_never_permitted(address: str) -> None:
    assert not permitted(ipaddress.ip_address(address), EVERYTHING)


def test_what_was_checked_is_what_is_connected_to() -> None:
    """A DNS server that gives another address the second time (rebinding) is not asked a second time."""
    answers = iter([[_answer("10.0.0.7"), _answer("93.184.216.34")], [_answer("127.0.0.1")]])
    sock = mock.Mock()
    with (
        mock.patch.object(socket, "getaddrinfo", side_effect=lambda *_, **__: next(answers)),
        mock.patch.object(socket, "create_connection", return_value=sock) as connected,
    ):
        assert connect("hub.example", 443, ()) == (sock, ipaddress.ip_address("93.184.216.34"))
    connected.assert_called_once_with(("93.184.216.34", 443), timeout=addresses.CONNECT_SECONDS)


def _answer(address: str) -> tuple[object, ...]:
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))


def test_a_name_that_nobody_knows_may_be_known_later() -> None:
    with (
        mock.patch.object(socket, "getaddrinfo", side_effect=socket.gaierror(-2, "Name or service not known")),
        pytest.raises(TransientError, match=r"hub\.example cannot be resolved"),
    ):
        connect("hub.example", 443, ())


@pytest.mark.parametrize("url", ["ftp://a/b", "https://", "https://user:pw@a/", "http://a:99999/", "//a"])
def test_what_is_no_endpoint(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Transport(url, lambda: None, ())
    assert caught.value.reason == "InvalidConfig"
    assert "pw" not in caught.value.message


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("17", 17.0),
        ("Thu, 01 Jan 1970 00:01:00 GMT", 50.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("²", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    headers = Message()
    headers["Retry-After"] = value
    assert retry_after(headers, 10.0) == seconds


def test_waiting_that_the_server_asked_for_is_not_held_against_it() -> None:
    now = 0.0
    retries = Retries(Patience(first=0, longest=0, asked=0.01, total=1.0), clock=lambda: now)
    now = 0.9
    retries.wait(TransientError("RateLimited", "later", retry_after=60), 1)
    now = 1.5
    retries.wait(TransientError("SourceUnreachable", "cut"), 2)
    now = 2.1
    with pytest.raises(JobError, match="Nothing has arrived"):
        retries.wait(TransientError("SourceUnreachable", "cut"), 3)
    retries.heard()
    assert retries.trouble is None
    retries.stop()
    with pytest.raises(StoppedError):
        retries.wait(TransientError("SourceUnreachable", "cut"), 1)
