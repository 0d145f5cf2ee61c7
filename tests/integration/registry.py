"""A real OCI registry on loopback: distribution over a directory, with one account."""

import base64
import hashlib
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local import servers
from tests.integration.control_plane import free_port

USER, PASSWORD = "puller", "password-of-the-tests"
_HASH = "$2b$05$abcdefghijklmnopqrstuuWIdHHbcHCbQl9axRX8PLVYdE/X22muy"  # bcrypt of the password
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Registry:
    """One that runs."""

    def __init__(self, host: str) -> None:
        self.host = host

    def push(self, repo: str, tag: str, layers: list[dict[str, Any]], config_type: str = "application/x.none") -> str:
        """Push `data` of each layer, and a manifest with the rest of it; its digest."""
        described = [
            {**{key: value for key, value in layer.items() if key != "data"}, **self._blob(repo, layer["data"])}
            for layer in layers
        ]
        config = {"mediaType": config_type, **self._blob(repo, b"{}")}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": described}
        return self.manifest(repo, tag, manifest)

    def manifest(self, repo: str, tag: str, manifest: dict[str, Any]) -> str:
        """Push a manifest or an index."""
        body = json.dumps(manifest).encode()
        self._send("PUT", f"/v2/{repo}/manifests/{tag}", body, manifest["mediaType"])
        return f"sha256:{hashlib.sha256(body).hexdigest()}"

    def _blob(self, repo: str, data: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        place = self._send("POST", f"/v2/{repo}/blobs/uploads/", b"")
        self._send("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", data)
        return {"digest": digest, "size": len(data)}

    def _send(self, method: str, path: str, body: bytes, kind: str = "application/octet-stream") -> str:
        url = path if path.startswith("http") else f"http://{self.host}{path}"
        account = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        headers = {"Authorization": f"Basic {account}", "Content-Type": kind}
        request = urllib.request.Request(url, data=body, method=method, headers=headers)  # noqa: S310 loopback
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 loopback
            return str(answer.headers.get("Location", ""))


def pull_secret(path: Path, host: str, password: str = PASSWORD) -> str:
    """A Secret of the type kubernetes.io/dockerconfigjson as the pod sees it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"auths": {host: {"username": USER, "password": password}}}))
    return str(path)


@contextmanager
def running(directory: Path) -> Iterator[Registry]:
    """The registry, until the end of the block."""
    host = f"127.0.0.1:{free_port()}"
    (directory / "htpasswd").write_text(f"{USER}:{_HASH}\n")
    settings = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}},
        "http": {"addr": host},
        "auth": {"htpasswd": {"realm": "tests", "path": str(directory / "htpasswd")}},
        "log": {"accesslog": {"disabled": True}, "level": "error"},
    }
    (directory / "config.yml").write_text(json.dumps(settings))
    with (directory / "server.log").open("wb") as output:
        command = [str(servers.built() / "registry"), str(directory / "config.yml")]
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            _await(host, process)
            yield Registry(host)
        finally:
            process.kill()
            process.wait()


def _await(host: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        assert process.poll() is None, "the registry ended"
        try:
            urllib.request.urlopen(f"http://{host}/v2/", timeout=5).close()
        except urllib.error.HTTPError as answer:
            answer.close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return
