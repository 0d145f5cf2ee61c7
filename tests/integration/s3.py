"""A real S3 server on loopback: versitygw over a directory, with one bucket."""

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import obstore
from obstore.store import S3Store

from local import servers
from tests.integration.control_plane import free_port

BUCKET = "models"
KEY, SECRET = "AKIAOFTHETESTS", "secret-of-the-tests"
REGION = "eu-central-1"


class Server:
    """One that runs."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.bucket = self.store()

    def store(self, **more: Any) -> S3Store:
        """The bucket as its owner's client sees it."""
        return S3Store(
            BUCKET,
            endpoint=self.url,
            region=REGION,
            access_key_id=KEY,
            secret_access_key=SECRET,
            client_options={"allow_http": True},
            **more,
        )

    def put(self, prefix: str, files: dict[str, bytes]) -> None:
        """Store objects."""
        for path, data in files.items():
            obstore.put(self.bucket, f"{prefix}/{path}", data)


@contextmanager
def running(directory: Path) -> Iterator[Server]:
    """The server, until the end of the block."""
    for name in ("data", "attributes"):
        (directory / name).mkdir()
    address = f"127.0.0.1:{free_port()}"
    command = [str(servers.built() / "s3"), "-address", address, "-region", REGION]
    command += ["-attributes", str(directory / "attributes"), str(directory / "data")]
    environment = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    url = f"http://{address}"
    with (directory / "server.log").open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            _await(url, process)
            (directory / "data" / BUCKET).mkdir()
            yield Server(url)
        finally:
            process.kill()  # it would wait for connections that clients keep
            process.wait()


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        assert process.poll() is None, "the S3 server ended"
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 loopback
        except urllib.error.HTTPError as answer:
            answer.close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return
