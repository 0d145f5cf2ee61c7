"""A model in a real registry: as files, as tar layers, as an image; and what is refused said in words."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deepseek_runtime.fetch import model
from deepseek_runtime.job.errors import DataError, JobError
from deepseek_runtime.weights import manifest
from deepseek_runtime.wire.job import FetchJob, OciSource
from deepseek_runtime.wire.result import JobResult

from tests.integration import registry
from tests.unit.fetch.world import QUICK, Silent, repository, small_chunks

FILES = repository(50_000, 70_000)
NEEDED = {path for path in FILES if path.endswith((".json", ".safetensors"))}
IMAGE = "application/vnd.oci.image.config.v1+json"
TAR = "application/vnd.oci.image.layer.v1.tar+gzip"
TITLE = "org.opencontainers.image.title"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[registry.Registry]:
    with registry.running(tmp_path_factory.mktemp("registry")) as running:
        yield running


def tar(files: dict[str, bytes], *links: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(info)
    return packed.getvalue()


def layer(data: bytes, kind: str, title: str | None = None) -> dict[str, Any]:
    return {"mediaType": kind, "data": data} | ({"annotations": {TITLE: title}} if title else {})


def fetch(server: registry.Registry, directory: Path, name: str, **more: Any) -> JobResult:
    secret = registry.pull_secret(directory / "secret" / "config", server.host, more.pop("password", registry.PASSWORD))
    wanted = {"reference": f"{server.host}/{name}", "plain_http": True, "pull_secret": secret, **more}
    networks = ("127.0.0.0/8",)
    job = FetchJob(
        identity="0" * 64,
        owner="test",
        output=str(directory / "volume"),
        oci=OciSource(**wanted),
        allowed_networks=networks,
    )
    with small_chunks():
        return model.run(job, Silent(), QUICK)


def assert_fetched(directory: Path, result: JobResult, revision: str) -> None:
    assert result.artifact is not None
    assert result.fetched is not None
    assert result.fetched.commit == revision
    artifact = directory / "volume" / "artifact"
    listed = manifest.verify(artifact, result.artifact.digest)
    assert {file.path for file in listed.files} == NEEDED
    assert all((artifact / path).read_bytes() == FILES[path] for path in NEEDED)


@pytest.mark.parametrize("folder", ["", "tiny/"])
def test_an_artifact_of_files(server: registry.Registry, tmp_path: Path, folder: str) -> None:
    layers = [
        layer(data, "application/vnd.cncf.model.weight.v1.raw", f"{folder}{path}") for path, data in FILES.items()
    ]
    revision = server.push("artifact", "v1", layers)
    assert_fetched(tmp_path, fetch(server, tmp_path, "artifact:v1"), revision)
    assert_fetched(tmp_path / "pinned", fetch(server, tmp_path / "pinned", f"artifact@{revision}"), revision)


def test_an_artifact_of_files_and_tar_layers(server: registry.Registry, tmp_path: Path) -> None:
    weights = {f"tiny/{path}": data for path, data in FILES.items() if path.endswith(".safetensors")}
    rest = {path: data for path, data in FILES.items() if f"tiny/{path}" not in weights}
    layers = [layer(data, "application/x.raw", f"tiny/{path}") for path, data in rest.items()]
    layers.append(layer(tar(weights), "application/vnd.cncf.model.weight.v1.tar+gzip"))
    revision = server.push("mixed", "v1", layers)
    assert_fetched(tmp_path, fetch(server, tmp_path, "mixed:v1"), revision)


def test_an_image_behind_an_index(server: registry.Registry, tmp_path: Path) -> None:
    """Its base image's links are nobody's business; a file that a later layer removes is gone."""
    base = tar({"bin/busybox": b"#!", "models/old.json": b"{}", "models/config.json": b"{}"}, "bin/sh", "models")
    top = tar({"models/.wh.old.json": b"", **{f"models/{path}": data for path, data in FILES.items()}})
    image = server.push("car", "one", [layer(base, TAR), layer(top, TAR)], IMAGE)
    kind = "application/vnd.oci.image.index.v1+json"
    entry = {"mediaType": registry.MANIFEST, "digest": image, "size": 1}
    revision = server.manifest("car", "v1", {"schemaVersion": 2, "mediaType": kind, "manifests": [entry]})
    assert_fetched(tmp_path, fetch(server, tmp_path, "car:v1"), revision)


@pytest.mark.parametrize(
    ("name", "more", "reason", "says"),
    [
        ("artifact:v9", {}, "SourceNotFound", "no v9 of artifact"),
        ("nothing:v1", {}, "SourceNotFound", "Correct reference"),
        ("artifact:v1", {"password": "wrong"}, "AccessDenied", "Correct the Secret of pullSecretRef"),
        ("artifact:v1", {"pull_secret": None}, "AccessDenied", "Give pullSecretRef"),
    ],
)
def test_what_the_registry_refuses(
    server: registry.Registry, tmp_path: Path, name: str, more: dict[str, Any], reason: str, says: str
) -> None:
    server.push("artifact", "v1", [layer(b"{}", "application/x.raw", "config.json")])
    with pytest.raises(JobError) as caught:
        fetch(server, tmp_path, name, **more)
    assert caught.value.reason == reason
    assert says in caught.value.message
    assert registry.PASSWORD not in caught.value.message


@pytest.mark.parametrize(
    ("layers", "reason", "says"),
    [
        ([layer(tar({"m/config.json": b"{}"}, "m/x"), TAR)], "UnsafeFile", "'m/x' in source-layer-0 of 127.0.0.1"),
        ([layer(tar({"../x": b"{}"}), TAR)], "UnsafeName", "leaves its folder"),
        ([layer(b"{}", "application/x.raw", "../x"), layer(tar({}), TAR)], "UnsafeName", "leaves its folder"),
        ([layer(b"x", "application/vnd.oci.image.layer.v1.tar+zstd")], "InvalidSource", "compressed with zstd"),
        ([layer(b"x", "application/x.other")], "InvalidSource", "no layers with files"),
    ],
)
def test_what_is_no_model(
    server: registry.Registry, tmp_path: Path, layers: list[dict[str, Any]], reason: str, says: str
) -> None:
    server.push("bad", "v1", layers)
    with pytest.raises(DataError) as caught:
        fetch(server, tmp_path, "bad:v1")
    assert caught.value.reason == reason
    assert says in caught.value.message
