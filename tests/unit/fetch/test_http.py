"""A model behind URLs: every file proven, an archive opened safely, and what is wrong named."""

import hashlib
import io
import tarfile
from collections import namedtuple
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from deepseek_runtime.fetch import model
from deepseek_runtime.job import space
from deepseek_runtime.job.errors import ConfigurationError, DataError, JobError
from deepseek_runtime.weights import manifest
from deepseek_runtime.wire.job import FetchJob, HttpFile, HttpSource
from deepseek_runtime.wire.result import JobResult

from tests.hub_server import Fault, Hub, running
from tests.unit.fetch.world import QUICK, REPO, Silent, repository, small_chunks

WANTED = ("config.json", "model.safetensors.index.json", "model-0.safetensors", "model-1.safetensors", "tokenizer.json")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def archive(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as tar:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def fetch(hub: Hub, output: Path, source: Any = None, *, within: str = "/cdn/") -> JobResult:
    """Its files by their URLs, or what `source` makes of the server's URL."""
    with running(hub) as url, small_chunks():
        files = tuple(
            HttpFile(url=f"{url}{within}{path}", sha256=sha256(hub.files[path]), path=path) for path in WANTED
        )
        http = source(f"{url}{within}", files) if source is not None else HttpSource(files=files)
        networks = ("127.0.0.0/8",)
        job = FetchJob(
            identity="0" * 64, owner="test", output=str(output), http=http, include=("*",), allowed_networks=networks
        )
        return model.run(job, Silent(), QUICK)


def test_every_file_is_fetched_and_proven(tmp_path: Path) -> None:
    hub = Hub(REPO, repository(60_000, 30_000))
    hub.faults.extend([Fault(), Fault(cut_after=0), Fault(status=503), Fault(), Fault(), Fault(cut_after=9000)])
    result = fetch(hub, tmp_path)
    assert result.artifact is not None
    assert result.fetched is not None
    manifest.verify(tmp_path / "artifact", result.artifact.digest)
    assert set(manifest.walk(tmp_path / "artifact")) - {"manifest.json"} == set(WANTED)
    assert len(result.fetched.commit) == 64


def test_a_wrong_digest_names_file_expected_and_found(tmp_path: Path) -> None:
    hub = Hub(REPO, repository(60_000, 30_000))

    def wrong(url: str, files: tuple[HttpFile, ...]) -> HttpSource:
        return HttpSource(files=(*files[:2], files[2].model_copy(update={"sha256": "ab" * 32}), *files[3:]))

    with pytest.raises(DataError) as caught:
        fetch(hub, tmp_path, wrong)
    assert caught.value.reason == "DigestMismatch"
    for said in ("model-0.safetensors", "ab" * 32, sha256(hub.files["model-0.safetensors"]), "source.http"):
        assert said in caught.value.message


def test_a_redirect_to_an_address_within_is_refused(tmp_path: Path) -> None:
    hub = Hub(REPO, repository(100, 100), cdn="http://169.254.169.254/latest")
    with pytest.raises(ConfigurationError) as caught:
        fetch(hub, tmp_path, within=f"/{REPO}/resolve/{hub.commit}/")
    assert caught.value.reason == "AddressRefused"


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (403, "AccessDenied", ConfigurationError),
        (404, "SourceNotFound", ConfigurationError),
        (418, "InvalidSource", ConfigurationError),
        (503, "SourceUnreachable", JobError),
    ],
)
def test_what_a_server_refuses(tmp_path: Path, status: int, reason: str, kind: type[JobError]) -> None:
    hub = Hub(REPO, repository(100, 100))
    hub.faults.extend([Fault(status=status)] * 3000)
    with mock.patch.object(model, "PATIENCE", QUICK), pytest.raises(kind) as caught:
        fetch(hub, tmp_path)
    assert caught.value.reason == reason
    assert "/cdn/" in caught.value.message


def test_more_than_the_volume_holds_is_refused_before_it_is_fetched(tmp_path: Path) -> None:
    hub = Hub(REPO, repository(50_000, 50_000))
    usage = namedtuple("usage", "total used free")(1 << 30, 0, space.SPARE + 90_000)
    with mock.patch.object(space.shutil, "disk_usage", return_value=usage), pytest.raises(ConfigurationError) as caught:
        fetch(hub, tmp_path)
    assert caught.value.reason == "StorageTooSmall"
    assert sum(end - begin for _, begin, end in hub.sent) <= len(WANTED)  # one byte each, to learn the size


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_an_archive_is_unpacked_and_removed(tmp_path: Path, mode: str) -> None:
    files = repository(60_000, 30_000)
    packed = archive(
        {f"./tiny-v1/{path}": data for path, data in files.items()} | {"tiny-v1/old/config.json": b""}, mode
    )
    hub = Hub(REPO, {**files, "m.tar": packed})
    hub.faults.extend([Fault(), Fault(cut_after=20_000)])

    def whole(url: str, _: Any) -> HttpSource:
        return HttpSource(archive=HttpFile(url=f"{url}m.tar", sha256=sha256(packed)))

    result = fetch(hub, tmp_path, whole)
    assert result.artifact is not None
    assert result.fetched is not None
    listed = manifest.verify(tmp_path / "artifact", result.artifact.digest)
    assert {file.path: file.sha256 for file in listed.files} == {
        path: sha256(files[path]) for path in (*WANTED, "empty.json")
    }
    assert "pytorch_model.bin" in result.fetched.left_out


def test_an_archive_without_a_model(tmp_path: Path) -> None:
    packed = archive({"a/readme.txt": b"hello"})
    hub = Hub(REPO, {**repository(10, 10), "m.tar": packed})
    with pytest.raises(DataError, match=r"source\.http") as caught:
        fetch(hub, tmp_path, lambda url, _: HttpSource(archive=HttpFile(url=f"{url}m.tar", sha256=sha256(packed))))
    assert caught.value.reason == "MissingFile"


def test_a_fetch_that_was_killed_after_unpacking_needs_no_more_room_than_it_had(tmp_path: Path) -> None:
    files = repository(60_000, 30_000)
    packed = archive(files, "w")
    hub = Hub(REPO, {**files, "m.tar": packed})
    room = len(packed) + sum(map(len, files.values())) + space.SPARE

    def usage(directory: Path) -> Any:
        used = sum(manifest.walk(directory).values())
        return namedtuple("usage", "total used free")(room, used, room - used)

    def whole(url: str, _: Any) -> HttpSource:
        return HttpSource(archive=HttpFile(url=f"{url}m.tar", sha256=sha256(packed)))

    with mock.patch.object(space.shutil, "disk_usage", side_effect=usage):
        with (
            mock.patch.object(model.admission, "check", side_effect=KeyboardInterrupt),
            pytest.raises(KeyboardInterrupt),
        ):
            fetch(hub, tmp_path, whole)
        assert fetch(hub, tmp_path, whole).artifact is not None
