"""Text from a dataset of a hub: what a stage can read, proven, from whatever folder, and nothing else."""

from pathlib import Path
from typing import Any

import pytest
from deepseek_runtime.fetch import dataset
from deepseek_runtime.job import space
from deepseek_runtime.job.errors import JobError
from deepseek_runtime.weights import manifest, seal
from deepseek_runtime.wire.job import DatasetJob
from deepseek_runtime.wire.result import JobResult

from tests.hub_server import Fault, Hub, running
from tests.unit.fetch.world import QUICK, TOKEN, Silent, small_chunks, token_file

REPO = "tiny/text"
FILES = {
    "README.md": b"# tiny",
    "data/train-0.jsonl": b'{"prompt": "a", "completion": "b"}\n' * 900,
    "data/train-1.jsonl": b'{"prompt": "c", "completion": "d"}\n',
    "book.txt": b"Once upon a time. " * 2000,
    "data/train.parquet": b"PAR1",
    "loader.py": b"raise SystemExit",
}


def job(url: str, output: Path, **more: Any) -> DatasetJob:
    fields: dict[str, Any] = {"revision": "main", "allowed_networks": ("127.0.0.0/8",), **more}
    return DatasetJob(identity="0" * 64, owner="test", output=str(output), endpoint=url, repo=REPO, **fields)


def fetch(hub: Hub, output: Path, **more: Any) -> JobResult:
    with running(hub) as url:
        return dataset.run(job(url, output, **more), Silent(), QUICK)


def hub(**more: Any) -> Hub:
    return Hub(REPO, FILES, "datasets", **more)


def test_its_text_is_sealed_with_its_commit(tmp_path: Path) -> None:
    output = tmp_path / "datasets" / "one"
    result = fetch(hub(token=TOKEN), output, token_file=token_file(tmp_path))
    assert result.dataset is not None
    assert result.fetched is not None
    assert result.fetched.commit == "0123456789abcdef0123456789abcdef01234567"
    assert result.fetched.left_out == ("README.md", "data/train.parquet", "loader.py")
    listed = manifest.verify(output / "artifact", result.dataset.digest)
    assert [file.path for file in listed.files] == ["book.txt", "data/train-0.jsonl", "data/train-1.jsonl"]
    assert (output / "artifact" / "data" / "train-0.jsonl").read_bytes() == FILES["data/train-0.jsonl"]
    assert seal.sealed(output, "0" * 64) == result.model_copy(update={"cached": True})


def test_a_cut_and_a_corrupt_answer_are_made_good(tmp_path: Path) -> None:
    served = hub()
    served.faults.extend([Fault(cut_after=5000), Fault(corrupt=True)])
    with small_chunks():
        result = fetch(served, tmp_path)
    assert result.dataset is not None
    manifest.verify(tmp_path / "artifact", result.dataset.digest)


@pytest.mark.parametrize(
    ("include", "exclude", "names"),
    [
        (("data/*",), (), ["data/train-0.jsonl", "data/train-1.jsonl"]),
        (("*",), ("*-0*",), ["book.txt", "data/train-1.jsonl"]),
    ],
)
def test_what_is_selected(tmp_path: Path, include: tuple[str, ...], exclude: tuple[str, ...], names: list[str]) -> None:
    fetch(hub(), tmp_path, include=include, exclude=exclude)
    assert [file.path for file in manifest.read(tmp_path / "artifact").files] == names


@pytest.mark.parametrize(
    ("files", "reason", "says"),
    [
        ({"data/train.parquet": b"PAR1"}, "MissingText", "it has data/train.parquet. Name a dataset with plain text"),
        ({"a/../../b.txt": b"x"}, "UnsafeName", "leaves its folder"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(
    tmp_path: Path, files: dict[str, bytes], reason: str, says: str
) -> None:
    with pytest.raises(JobError, match=says) as caught:
        fetch(Hub(REPO, files, "datasets"), tmp_path)
    assert caught.value.reason == reason
    assert not (tmp_path / "result.json").exists()


def test_a_repository_of_models_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(JobError) as caught:
        fetch(Hub(REPO, FILES), tmp_path)
    assert caught.value.reason == "SourceNotFound"


def test_a_volume_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "SPARE", 1 << 60)
    with pytest.raises(JobError, match=r"Raise checkpoint\.storage\.size, which is 1Gi") as caught:
        fetch(hub(), tmp_path, storage_size="1Gi")
    assert caught.value.reason == "StorageTooSmall"
