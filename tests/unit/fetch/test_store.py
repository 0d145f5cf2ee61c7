"""How stores are opened, what their errors mean, and that their library goes no way of its own."""

import http.server
import ipaddress
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from deepseek_runtime.fetch import guard as guard_module
from deepseek_runtime.fetch.guard import Guard
from deepseek_runtime.fetch.object_store import ObjectStore
from deepseek_runtime.fetch.source import RemoteFile
from deepseek_runtime.fetch.store_access import open_store, read_access
from deepseek_runtime.fetch.store_errors import explained
from deepseek_runtime.fetch.troubles import Patience, Retries, TransientError
from deepseek_runtime.job.errors import ConfigurationError, DataError, JobError
from deepseek_runtime.wire.job import ObjectStoreSource
from obstore.exceptions import GenericError, PermissionDeniedError, PreconditionError
from obstore.store import AzureStore, GCSStore, S3Store

AZURE = "https://ours.blob.core.windows.net"
LOOPBACK = "127.0.0.0/8"


def wanted(url: str, **more: Any) -> ObjectStoreSource:
    return ObjectStoreSource(url=url, **more)


def secret(directory: Path, **keys: str) -> str:
    for name, value in keys.items():
        (directory / name.replace("_", ".")).write_text(value)
    return str(directory)


@pytest.mark.parametrize(
    ("url", "more", "keys", "kind", "config"),
    [
        (
            "s3://models/v1/x",
            {"region": "eu-west-1", "endpoint": "https://s3.example"},
            {"accessKeyId": "a", "secretAccessKey": "s\n", "sessionToken": "t"},
            S3Store,
            {"bucket": "models", "region": "eu-west-1", "endpoint": "https://s3.example", "access_key_id": "a"}
            | {"secret_access_key": "s", "session_token": "t"},
        ),
        ("s3://models", {}, {"accessKeyId": "a", "secretAccessKey": "s"}, S3Store, {"region": "us-east-1"}),
        ("s3://models/v1", {}, None, S3Store, {"skip_signature": "true"}),
        ("gs://models/v1", {}, None, GCSStore, {"bucket": "models", "skip_signature": "true"}),
        ("az://box/v1", {"endpoint": AZURE}, {"accountKey": "a2V5"}, AzureStore, {"account_name": "ours"}),
        ("az://box/v1", {"endpoint": AZURE}, {"sasToken": "sv=1&sig=x"}, AzureStore, {"container_name": "box"}),
    ],
)
def test_urls_and_keys_become_the_librarys_settings(
    tmp_path: Path, url: str, more: dict[str, str], keys: dict[str, str] | None, kind: type, config: dict[str, object]
) -> None:
    source = wanted(url, **more, credentials=secret(tmp_path, **keys) if keys is not None else None)
    store = open_store(source, read_access(source), {})
    assert isinstance(store, kind)
    assert config.items() <= dict(store.config).items()
    assert (store.prefix or "") == "/".join(url.split("/")[3:])


def test_a_service_account_of_google(tmp_path: Path) -> None:
    private = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {"client_email": "x@y", "private_key_id": "1", "private_key": private.decode(), "token_uri": "https://o"}
    source = wanted("gs://models/v1", credentials=secret(tmp_path, serviceAccount_json=json.dumps(account)))
    with ObjectStore(source, ()) as store:
        assert store.name == "gs://models/v1"


@pytest.mark.parametrize(
    ("url", "keys", "reason", "says"),
    [
        ("s3://models", {"accessKeyId": "a"}, "SecretMissing", "accessKeyId and secretAccessKey"),
        ("s3://models", {"accessKeyId": "a", "secretAccessKey": " "}, "SecretMissing", "secretAccessKey of the Secret"),
        ("gs://models", {"token": "a"}, "SecretMissing", "serviceAccount.json"),
        ("gs://models", {"serviceAccount_json": "confidential"}, "InvalidConfig", "cannot be opened"),
        ("az://box", {"token": "a"}, "SecretMissing", "accountKey or sasToken"),
        ("az://box", {"accountKey": "a2V5"}, "InvalidConfig", "<account>.blob.core.windows.net"),
        ("ftp://box", {}, "InvalidConfig", "no s3://, gs:// or az:// URL"),
    ],
)
def test_keys_that_do_not_suffice(tmp_path: Path, url: str, keys: dict[str, str], reason: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ObjectStore(wanted(url, credentials=secret(tmp_path, **keys)), ())
    assert caught.value.reason == reason
    assert says in caught.value.message
    assert "confidential" not in caught.value.message


def test_the_identity_that_a_cloud_gives_the_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/fetch")
    access = read_access(wanted("s3://models"))
    assert access.how == "the pod's cloud identity"
    assert "skip_signature" not in access.settings


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("s3://models/v1", "sts.us-east-1.amazonaws.com"),
        ("az://box/v1", "login.microsoftonline.com"),
        ("gs://models/v1", "storage.googleapis.com"),
    ],
)
def test_whatever_the_library_asks_it_asks_through_the_guard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, asked: str
) -> None:
    """The services that give credentials among it."""
    (tmp_path / "token").write_text("x")
    for name in ("AWS_WEB_IDENTITY_TOKEN_FILE", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "token"))
    for name in ("AWS_ROLE_ARN", "AZURE_CLIENT_ID", "AZURE_TENANT_ID"):
        monkeypatch.setenv(name, "x")

    def refusing(host: str, port: int, allowed: object) -> None:
        raise TransientError("SourceUnreachable", f"{host}:{port} is not asked")

    monkeypatch.setattr(guard_module, "connect", refusing)
    source = wanted(url, endpoint=AZURE if url.startswith("az") else None)
    with ObjectStore(source, ()) as store, pytest.raises(JobError, match=rf"{asked}:443 is not asked"):
        store.listing(Retries(Patience(first=0.001, longest=0.001, total=0.01)))


def xml(code: str, more: str = "") -> str:
    return f"<Error><Code>{code}</Code><Message>secret-in-a-body</Message>{more}</Error>"


@pytest.mark.parametrize(
    ("error", "file", "kind", "reason", "says"),
    [
        (PermissionDeniedError(xml("ExpiredToken")), False, ConfigurationError, "AccessDenied", "have expired"),
        (PermissionDeniedError(xml("AccessDenied")), False, ConfigurationError, "AccessDenied", "Allow both"),
        (PermissionDeniedError(xml("RequestTimeTooSkewed")), True, ConfigurationError, "AccessDenied", "the clock"),
        (FileNotFoundError(xml("NoSuchBucket")), False, ConfigurationError, "SourceNotFound", "no bucket models"),
        (FileNotFoundError(xml("NoSuchKey")), True, DataError, "RevisionMoved", "config.json of s3://models/v1"),
        (PreconditionError("412"), True, DataError, "RevisionMoved", "was changed or removed"),
        (
            GenericError(
                f"status code: 400 Bad Request: {xml('AuthorizationHeaderMalformed', '<Region>eu-x-1</Region>')}"
            ),
            False,
            ConfigurationError,
            "InvalidSource",
            "it is in eu-x-1",
        ),
        (GenericError("Received redirect without LOCATION"), False, ConfigurationError, "InvalidSource", "region"),
        (GenericError("status code: 418 I'm a teapot"), False, ConfigurationError, "InvalidSource", "answers 418"),
        (GenericError("status code: 503 Slow: " + xml("SlowDown")), True, TransientError, "RateLimited", "503"),
        (GenericError("status code: 500 Oops"), True, TransientError, "SourceUnreachable", "answers 500"),
        (GenericError("error sending request"), True, TransientError, "SourceUnreachable", "does not answer"),
    ],
)
def test_errors_say_what_they_mean(error: Exception, file: bool, kind: type, reason: str, says: str) -> None:
    source = wanted("s3://models/v1")
    found = explained(error, source, read_access(source), RemoteFile(path="config.json", size=1) if file else None)
    assert type(found) is kind
    assert found.reason == reason
    assert says in found.message
    assert "secret-in-a-body" not in found.message


@pytest.fixture
def plain() -> Iterator[str]:
    """An HTTP server that says which URL it was asked for."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.path.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def through(guard: Guard, url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": guard.url}))
    with opener.open(url, timeout=10) as answer:
        return bytes(answer.read())


def test_the_guard_lets_through_what_is_allowed(plain: str) -> None:
    with Guard((ipaddress.ip_network(LOOPBACK),), secret=True) as guard:
        assert through(guard, f"{plain}/a?b") == f"{plain}/a?b".encode()
        assert guard.refusal() is None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "169.254.169.254", "[::1]"])
@pytest.mark.parametrize("tunnel", [True, False])
def test_the_guard_refuses_what_is_not(host: str, tunnel: bool) -> None:
    with (
        Guard((), secret=False) as guard,
        socket.create_connection(("127.0.0.1", int(guard.url.split(":")[2]))) as sock,
    ):
        request = f"CONNECT {host}:443 HTTP/1.1" if tunnel else f"GET http://{host}/ HTTP/1.1"
        sock.sendall(f"{request}\r\nHost: {host}\r\n\r\n".encode())
        assert sock.recv(100).startswith(b"HTTP/1.1 502 ")
        refusal = guard.refusal()
    assert refusal is not None
    assert refusal.reason == "AddressRefused"


def test_credentials_go_in_the_clear_only_where_somebody_vouches(plain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loopback address as if it were public."""
    monkeypatch.setattr("deepseek_runtime.fetch.addresses.permitted", lambda *_: True)
    with Guard((), secret=True) as guard:
        with pytest.raises(urllib.error.HTTPError) as caught:
            through(guard, plain)
        caught.value.close()
        refusal = guard.refusal()
    assert refusal is not None
    assert "not sent to 127.0.0.1 over http" in refusal.message
    with Guard((), secret=False) as guard:
        assert through(guard, plain)


def test_a_guard_that_ends_ends_its_connections(plain: str) -> None:
    with (
        Guard((ipaddress.ip_network(LOOPBACK),), secret=False) as guard,
        socket.create_connection(("127.0.0.1", int(guard.url.split(":")[2]))) as sock,
    ):
        sock.sendall(f"CONNECT {plain[7:]} HTTP/1.1\r\n\r\n".encode())
        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
        sock.sendall(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.0 200 ")
        guard.cut()
        while sock.recv(100):
            pass
