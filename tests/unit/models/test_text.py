"""Text is read in order and refused with its name and the byte where it is wrong."""

from pathlib import Path

import pytest
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.models import text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def test_a_directory_is_its_text_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c.md"):
        (tmp_path / name).write_text(name)
    single = tmp_path / "c.md"
    found = text.files([str(single), str(tmp_path)])
    assert [path.name for path in found] == ["c.md", "a.txt", "b.txt"]


def test_missing_and_empty_text_is_named(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "no.txt", "MissingText"), (tmp_path, "MissingText")):
        with pytest.raises(DataError, match=str(path)) as caught:
            text.files([str(path)])
        assert caught.value.reason == reason
    (tmp_path / "empty.txt").touch()
    with pytest.raises(DataError, match="empty") as caught:
        text.files([str(tmp_path)])
    assert caught.value.reason == "EmptyText"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.text(alphabet=st.sampled_from("aé狐🦊\n\r "), max_size=60),
    chunk=st.integers(1, 9),
    bad=st.one_of(st.none(), st.integers(0, 60)),
)
def test_pieces_join_to_the_text_and_the_first_bad_byte_is_told_wherever_pieces_end(
    tmp_path: Path, content: str, chunk: int, bad: int | None
) -> None:
    path = tmp_path / "x.txt"
    characters = len(content) if bad is None else min(bad, len(content))
    before = content[:characters].encode()
    data = before if bad is None else before + b"\xff" + content[characters:].encode()
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "CHUNK", chunk)
        if bad is None:
            pieces = list(text.chunks(path))
            assert "".join(pieces) == content
            assert all(piece.endswith("\n") for piece in pieces[:-1])
        else:
            with pytest.raises(DataError, match=f"x.txt is not UTF-8 at byte {len(before)}\\."):
                text.read(path)
