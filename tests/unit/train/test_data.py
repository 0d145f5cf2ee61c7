"""Where a stage's data comes from: paths as they are, and of sealed datasets what the stage's type reads."""

import json
from pathlib import Path

import pytest
from deepseek_runtime.job import run
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.train.data import prepare
from deepseek_runtime.weights import manifest
from deepseek_runtime.weights.load import load_config
from deepseek_runtime.wire.exit_codes import ExitCode

from .conftest import TEXT, make_job
from .test_loop import ALONE


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two halves of a text in folders, in an order that is not that of their halves' names."""
    directory = tmp_path / "dataset"
    half = len(TEXT) // 2
    for name, text in (("a/second.txt", TEXT[half:]), ("a.txt", TEXT[:half]), ("notes.jsonl", "{}")):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    manifest.write(directory)
    return directory


def tokens(output: Path) -> bytes:
    (file,) = output.glob("tokens-*")
    return file.read_bytes()


def test_a_dataset_is_its_files_in_the_order_of_their_paths(seed_model: Path, dataset: Path, tmp_path: Path) -> None:
    files = [dataset / "a.txt", dataset / "a" / "second.txt"]
    for name, data, datasets in (
        ("whole", (str(dataset),), {str(dataset): manifest.read(dataset).digest}),
        ("files", tuple(map(str, files)), {}),
    ):
        job = make_job(seed_model, dataset, tmp_path / name, data=data, datasets=datasets)
        (tmp_path / name).mkdir()
        prepare(job, load_config(seed_model), tmp_path / name, ALONE, lambda _: None)
    assert tokens(tmp_path / "whole") == tokens(tmp_path / "files")


def test_a_dataset_without_what_the_stage_reads(seed_model: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "data.jsonl").write_text(json.dumps({"prompt": "a", "completion": "b"}))
    digest = manifest.write(tmp_path / "dataset").digest
    path = str(tmp_path / "dataset")
    job = make_job(seed_model, tmp_path, tmp_path / "output", data=(path,), datasets={path: digest})
    with pytest.raises(DataError, match=r"has no \*\.txt files, which a stage of type pretrain reads"):
        prepare(job, load_config(seed_model), tmp_path, ALONE, lambda _: None)


def test_a_dataset_that_was_changed_is_not_learned(seed_model: Path, dataset: Path, tmp_path: Path) -> None:
    digest = manifest.read(dataset).digest
    (dataset / "a.txt").write_text(TEXT[: len(TEXT) // 2 - 1] + "!")
    path = str(dataset)
    job = make_job(seed_model, dataset, tmp_path / "output", data=(path,), datasets={path: digest})
    result, code = run.run(job, port=0)
    assert (result.reason, code) == ("DigestMismatch", ExitCode.DATA)
    assert "a.txt" in (result.message or "")
