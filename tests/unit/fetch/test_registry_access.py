"""A registry's password goes to the registry and its own token service, and a token is asked for pulling alone."""

import base64
import http.server
import ipaddress
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from deepseek_runtime.fetch.oci import Oci
from deepseek_runtime.fetch.registry_access import Access
from deepseek_runtime.fetch.troubles import Retries
from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.wire.job import OciSource

from tests.unit.fetch.world import QUICK

NETWORKS = (ipaddress.ip_network("127.0.0.0/8"),)
ACCOUNT = base64.b64encode(b"puller:confidential").decode()
MANIFEST = {
    "layers": [
        {
            "mediaType": "application/x.raw",
            "digest": f"sha256:{'ab' * 32}",
            "size": 2,
            "annotations": {"org.opencontainers.image.title": "config.json"},
        }
    ]
}


@contextmanager
def registry(tokens: list[str], asked: list[dict[str, Any]], manifest: Any = MANIFEST) -> Iterator[str]:
    """One that takes the last of `tokens`, and gives them one by one; `asked` for them."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given, host = self.headers.get("Authorization"), self.headers["Host"]
            if self.path.startswith("/token"):
                asked.append({"authorization": given, **parse_qs(urlsplit(self.path).query)})
                self._give(200, {"token": tokens[min(len(asked), len(tokens)) - 1]})
            elif given == f"Bearer {tokens[-1]}":
                self._give(200, manifest)
            else:
                challenge = f'Bearer realm="http://{host}/token",service="ours",scope="repository:tiny:pull,push"'
                self._give(401, {}, {"WWW-Authenticate": challenge})

        def _give(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def secret(directory: Path, auths: object) -> str:
    path = directory / "config.json"
    path.write_text(json.dumps({"auths": auths}))
    return str(path)


def test_a_token_is_asked_for_pulling_alone(tmp_path: Path) -> None:
    asked = list[dict[str, Any]]()
    with registry(["one"], asked) as host:
        path = secret(tmp_path, {f"https://{host}/v1/": {"auth": ACCOUNT}})
        source = Oci(OciSource(reference=f"{host}/tiny:v1", plain_http=True, pull_secret=path), NETWORKS)
        listing = source.listing(Retries(QUICK))
    assert [file.path for file in listing.files] == ["config.json"]
    assert asked == [{"authorization": f"Basic {ACCOUNT}", "service": ["ours"], "scope": ["repository:tiny:pull"]}]


def test_a_token_that_does_not_suffice_is_not_asked_for_for_ever() -> None:
    asked = list[dict[str, Any]]()
    with registry(["one", "two", "three"], asked) as host:
        source = Oci(OciSource(reference=f"{host}/tiny:v1", plain_http=True), NETWORKS)
        with pytest.raises(ConfigurationError, match="Give pullSecretRef") as caught:
            source.listing(Retries(QUICK))
    assert caught.value.reason == "AccessDenied"
    assert len(asked) == 1


@pytest.mark.parametrize(
    "manifest",
    [
        [],
        {"layers": "all"},
        {"layers": ["one"]},
        {"layers": [{**MANIFEST["layers"][0], "annotations": ["title"]}]},
        {"config": [], "layers": [{"digest": [], "size": True}]},
        {"config": {"mediaType": []}, "mediaType": {}, "layers": {}},
        {"manifests": 7},
        {"manifests": [{"platform": "linux"}, 1]},
    ],
    ids=str,
)
def test_a_manifest_that_is_none_is_refused_in_words(manifest: Any) -> None:
    with registry(["one"], [], manifest) as host:
        source = Oci(OciSource(reference=f"{host}/tiny:v1", plain_http=True), NETWORKS)
        with pytest.raises(DataError) as caught:
            source.listing(Retries(QUICK))
    assert caught.value.reason == "InvalidSource"


@pytest.mark.parametrize(
    ("host", "realm", "own"),
    [
        ("ghcr.io", "https://ghcr.io/token", True),
        ("registry-1.docker.io", "https://auth.docker.io/token", True),
        ("registry.gitlab.com", "https://gitlab.com/jwt/auth", True),
        ("ghcr.io", "http://ghcr.io/token", False),
        ("ghcr.io", "https://evil.io/token", False),
        ("registry.example.com", "https://example.com.evil.io/token", False),
        ("10.0.0.1:5000", "https://11.0.0.1/token", False),
        ("10.0.0.1:5000", "https://9.0.0.1/token", False),
    ],
)
def test_the_password_goes_to_the_registrys_own_realm_alone(tmp_path: Path, host: str, realm: str, own: bool) -> None:
    access = Access(f"https://{host}", host, "tiny", secret(tmp_path, {host: {"auth": ACCOUNT}}), ())
    assert access._own(realm) is own
    if not own:
        with pytest.raises(ConfigurationError, match="not of its domain") as caught:
            access.challenged(f'Bearer realm="{realm}",service="x"', "v1")
        assert caught.value.reason == "UnsafeRedirect"
        assert access.authorization() is None


@pytest.mark.parametrize(
    ("auths", "says"),
    [
        ({"other.example": {"auth": ACCOUNT}}, "no entry for registry.example"),
        ({"registry.example": {"auth": "confidential"}}, "kubectl create secret docker-registry"),
        ({"registry.example": {"username": "x"}}, "kubectl create secret docker-registry"),
        ([], "kubectl create secret docker-registry"),
    ],
)
def test_a_secret_that_is_none(tmp_path: Path, auths: object, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        Access("https://registry.example", "registry.example", "tiny", secret(tmp_path, auths), ())
    assert caught.value.reason == "SecretMissing"
    assert "confidential" not in caught.value.message
