"""A model in a real S3 server: fetched, resumed, pinned, and what is refused said in words."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from deepseek_runtime.fetch import model, object_store
from deepseek_runtime.fetch.ledger import CHUNK, Ledger
from deepseek_runtime.job.errors import ConfigurationError, DataError, JobError
from deepseek_runtime.weights import manifest
from deepseek_runtime.wire.job import FetchJob, ObjectStoreSource
from deepseek_runtime.wire.result import JobResult

from tests.integration import s3
from tests.unit.fetch.world import QUICK, Silent, repository, small_chunks

REPOSITORY = Path(__file__).parents[2]
IDENTITY = "5" * 64


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.Server]:
    """With the tests' model below `tiny/`."""
    with s3.running(tmp_path_factory.mktemp("s3")) as running:
        running.put("tiny", {**repository(50_000, 70_000), "checkpoints/1.safetensors": b"not this one"})
        yield running


def keys(directory: Path, key: str = s3.KEY, secret: str = s3.SECRET, **more: str) -> str:
    """The Secret as the pod sees it."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, value in {"accessKeyId": key, "secretAccessKey": secret, **more}.items():
        (directory / name).write_text(value + "\n")
    return str(directory)


def job(server: str, directory: Path, prefix: str = "tiny", **more: Any) -> FetchJob:
    """The Job that fetches what is below a prefix."""
    wanted = {"url": f"s3://{s3.BUCKET}/{prefix}", "endpoint": server, "region": s3.REGION, **more}
    if "credentials" not in wanted:
        wanted["credentials"] = keys(directory / "secret")
    source = ObjectStoreSource.model_validate(wanted)
    networks = () if more.get("outside") else ("127.0.0.0/8",)
    fields = {"output": str(directory / "volume"), "allowed_networks": networks}
    return FetchJob(identity=IDENTITY, owner="test", object_store=source, **fields)


def fetch(server: s3.Server, directory: Path, prefix: str = "tiny", **more: Any) -> JobResult:
    """Run it."""
    return model.run(job(server.url, directory, prefix, **more), Silent(), QUICK)


def test_what_is_needed_is_fetched_and_pinned(server: s3.Server, tmp_path: Path) -> None:
    with small_chunks():
        result = fetch(server, tmp_path)
    assert result.artifact is not None
    assert result.fetched is not None
    artifact = tmp_path / "volume" / "artifact"
    manifest.verify(artifact, result.artifact.digest)
    for path in manifest.walk(artifact):
        stored = bytes(obstore.get(server.bucket, f"tiny/{path}").bytes()) if path != "manifest.json" else b""
        assert path == "manifest.json" or (artifact / path).read_bytes() == stored
    assert set(result.fetched.left_out) == {"README.md", "modeling_tiny.py", "pytorch_model.bin"}
    again = fetch(server, tmp_path / "again")
    assert again.fetched is not None
    assert again.fetched.commit == result.fetched.commit
    server.put("other", {**repository(50_000, 70_000)})
    other = fetch(server, tmp_path / "other", "other")
    assert other.fetched is not None
    assert other.fetched.commit != result.fetched.commit


def test_a_killed_process_asks_for_no_finished_byte_again(server: s3.Server, tmp_path: Path) -> None:
    server.put("large", repository(5 * CHUNK, 3 * CHUNK))
    (tmp_path / "job.json").write_text(job(server.url, tmp_path, "large").to_json())
    code = (
        "import sys, time; from pathlib import Path\n"
        "from deepseek_runtime.fetch import model, object_store; from deepseek_runtime.wire.job import FetchJob\n"
        "from tests.unit.fetch.world import Silent\n"
        "into = object_store.StoreBody.into\n"
        "def slowly(*a):\n time.sleep(0.004)\n return into(*a)\n"
        "object_store.StoreBody.into = slowly\n"
        "model.run(FetchJob.model_validate_json(Path(sys.argv[1]).read_bytes()), Silent())"
    )
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}/operator:{REPOSITORY}/runtime:{REPOSITORY}"}
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "job.json")], env=environment)
    journal = tmp_path / "volume" / f".fetch-{IDENTITY}" / "journal"
    deadline = time.monotonic() + 60
    while not journal.exists() or sum(len(line.split()[1]) < 64 for line in journal.read_text().splitlines()) < 5:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    with Ledger(tmp_path / "volume", IDENTITY) as ledger:
        plan = ledger.plan
        assert plan is not None
        kept = ledger.kept(plan.files)
        finished = {(plan.files[i].path, chunk * CHUNK) for i, chunks in ledger.finished.items() for chunk in chunks}
    asked = list[tuple[str, int, int]]()
    part = object_store.ObjectStore.part

    def noting(store: Any, file: Any, begin: int, end: int) -> Any:
        asked.append((file.path, begin, end))
        return part(store, file, begin, end)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(object_store.ObjectStore, "part", noting)
        result = fetch(server, tmp_path, "large")
    assert result.artifact is not None
    assert result.fetched is not None
    assert sum(at > 0 for _, at in finished) >= 1
    assert not [(path, at) for path, at in finished for name, begin, end in asked if path == name and begin <= at < end]
    assert sum(end - begin for _, begin, end in asked) == result.fetched.bytes - kept
    manifest.verify(tmp_path / "volume" / "artifact", result.artifact.digest)


def test_an_object_that_changes_in_the_middle(server: s3.Server, tmp_path: Path) -> None:
    server.put("moving", repository(200_000))
    into, changed = object_store.StoreBody.into, list[int]()

    def changing(body: Any, buffer: memoryview) -> int:
        count = into(body, buffer)
        if body._file.path == "model-0.safetensors" and not changed:
            changed.append(count)
            server.put("moving", {"model-0.safetensors": repository(200_000)["model-0.safetensors"]})
        return count

    with pytest.MonkeyPatch.context() as patch, small_chunks(4096):
        patch.setattr(object_store.StoreBody, "into", changing)
        with pytest.raises(DataError) as caught:
            fetch(server, tmp_path, "moving")
    assert caught.value.reason == "RevisionMoved"
    assert "model-0.safetensors of s3://models/moving was changed" in caught.value.message
    assert not (tmp_path / "volume" / "result.json").exists()


@pytest.mark.parametrize(
    ("source", "reason", "says"),
    [
        ({"prefix": "nothing"}, "SourceNotFound", "no objects right below"),
        ({"url": "s3://nobodys/tiny"}, "SourceNotFound", "no bucket nobodys"),
        ({"region": "us-west-2"}, "InvalidSource", "it is in eu-central-1"),
        ({"key": "AKIANOBODY"}, "AccessDenied", "access key is not known"),
        ({"secret": "wrong"}, "AccessDenied", "secret access key does not belong"),
        ({"credentials": None}, "AccessDenied", "credentialsSecretRef is absent"),
        ({"only": "accessKeyId"}, "SecretMissing", "needs the keys accessKeyId and secretAccessKey"),
        ({"outside": True}, "AddressRefused", "fetch.allowedNetworks"),
        ({"endpoint": "http://169.254.169.254"}, "AddressRefused", "169.254.169.254"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_the_store_refuses(
    server: s3.Server, tmp_path: Path, source: dict[str, Any], reason: str, says: str
) -> None:
    given = {name: source.pop(name) for name in ("key", "secret") if name in source}
    directory = keys(tmp_path / "secret", **given)
    if source.pop("only", None):
        (tmp_path / "secret" / "secretAccessKey").unlink()
    with pytest.raises(ConfigurationError) as caught:
        fetch(server, tmp_path, **{"credentials": directory, **source})
    assert caught.value.reason == reason
    assert says in caught.value.message
    assert s3.SECRET not in caught.value.message


def test_a_server_that_is_not_there_is_given_up(server: s3.Server, tmp_path: Path) -> None:
    with pytest.raises(JobError) as caught:
        fetch(server, tmp_path, endpoint="http://127.0.0.1:9")
    assert caught.value.reason == "SourceUnreachable"
    assert "goes on from there" in caught.value.message
