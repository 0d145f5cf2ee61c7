"""Which files are fetched, and that no name of a stranger's reaches outside."""

import os
from pathlib import Path

import pytest
from deepseek_runtime.fetch.beneath import open_file
from deepseek_runtime.fetch.selection import name_problem, select
from deepseek_runtime.fetch.source import RemoteFile
from deepseek_runtime.job.errors import JobError
from hypothesis import given
from hypothesis import strategies as st

MODEL = ("config.json", "model.safetensors", "tokenizer.json")


def files(*paths: str) -> list[RemoteFile]:
    return [RemoteFile(path=path, size=1, blob="0" * 40) for path in paths]


def test_the_default_is_what_the_runtime_reads() -> None:
    more = ("README.md", "a.py", "chat_template.jinja", "onnx/model.safetensors", "tokenizer.model", "manifest.json")
    chosen = select(files(*MODEL, *more), (), ())
    assert [file.path for file in chosen.files] == [
        "chat_template.jinja", "config.json", "tokenizer.json", "tokenizer.model", "model.safetensors",
    ]  # fmt: skip
    assert chosen.left_out == ("README.md", "a.py", "onnx/model.safetensors", "manifest.json")


def test_include_and_exclude() -> None:
    chosen = select(files(*MODEL, "LICENSE", "b/x.txt", "b/y.txt"), ("*.json", "*.safetensors", "b/*"), ("*y.txt",))
    assert {file.path for file in chosen.files} == {*MODEL, "b/x.txt"}


@pytest.mark.parametrize(
    ("paths", "include", "reason"),
    [
        ((*MODEL, "a.py"), ("*",), "UnsafeModel"),
        ((*MODEL, "x.BIN"), ("*",), "UnsafeModel"),
        ((*MODEL, "../x.json"), ("*",), "UnsafeName"),
        ((*MODEL, "manifest.json"), ("*",), "UnsafeName"),
        ((*MODEL, "a", "a/b"), ("*",), "UnsafeName"),
        (MODEL[1:], (), "MissingFile"),
        (MODEL[:1], (), "MissingFile"),
    ],
)
def test_refused(paths: tuple[str, ...], include: tuple[str, ...], reason: str) -> None:
    with pytest.raises(JobError) as caught:
        select(files(*paths), include, ())
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../a",
        "a/../../b",
        "a//b",
        "./a",
        "a/",
        "",
        "a\\b",
        "a\nb",
        "a\0b",
        "\u202ea",
        "x" * 256,
        "a/" * 600 + "a",
        "\ud800",
    ],
)
def test_names_that_are_not_written(path: str) -> None:
    assert name_problem(path) is not None


@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
    | st.lists(st.sampled_from(["a", "..", ".", "b"])).map("/".join)
)
def test_a_name_that_is_written_lies_beneath(path: str) -> None:
    if name_problem(path) is None:
        assert Path(os.path.normpath(f"/volume/{path}")).is_relative_to("/volume")
        assert os.path.normpath(f"/volume/{path}") == f"/volume/{path}"


def test_no_link_is_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "file")
    for path in ("folder/x", "file"):
        with pytest.raises(OSError, match=r"links|directory"):
            open_file(root, path, 1)
    assert list(outside.iterdir()) == []
    os.close(open_file(root, "a/b/c", 5))
    assert (root / "a/b/c").stat().st_size == 5
