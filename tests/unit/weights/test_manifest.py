"""A model that is not, byte for byte, what its digest promises is refused with the file's name."""

import json
import random
from contextlib import suppress
from pathlib import Path

import pytest
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.weights import manifest
from deepseek_runtime.wire.manifest import Manifest, ManifestFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 9, "sub/deep/x.txt": b"text", "empty": b""}


def _model(directory: Path) -> str:
    for name, content in FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return manifest.write(directory).digest


def test_what_was_written_verifies_and_the_digest_is_the_contents_alone(tmp_path: Path) -> None:
    first, second = _model(tmp_path / "a"), _model(tmp_path / "b")
    assert first == second
    found = manifest.verify(tmp_path / "a", first)
    assert [file.path for file in found.files] == sorted(FILES)
    assert found.size == sum(map(len, FILES.values()))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(name for name, content in FILES.items() if content)), data=st.data())
def test_one_changed_byte_is_found_and_its_file_named(tmp_path: Path, name: str, data: st.DataObject) -> None:
    digest = _model(tmp_path)
    position = data.draw(st.integers(0, len(FILES[name]) - 1))
    content = bytearray(FILES[name])
    content[position] ^= data.draw(st.integers(1, 255))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"SHA-256 is [0-9a-f]{64}, expected [0-9a-f]{64}") as caught:
        manifest.verify(tmp_path, digest)
    assert caught.value.reason == "DigestMismatch"
    assert str(tmp_path / name) in caught.value.message


def test_a_rewritten_manifest_does_not_help(tmp_path: Path) -> None:
    digest = _model(tmp_path)
    (tmp_path / "config.json").write_bytes(b"[]")
    other = manifest.write(tmp_path).digest
    with pytest.raises(DataError, match=f"manifest.json: digest is {other}, expected {digest}"):
        manifest.verify(tmp_path, digest)


def test_missing_extra_shortened_and_linked_files_are_refused(tmp_path: Path) -> None:
    digest = _model(tmp_path)
    changes = {
        "MissingFile": lambda: (tmp_path / "empty").unlink(),
        "ExtraFile": lambda: (tmp_path / "sub" / "evil.py").write_text(""),
        "DigestMismatch": lambda: (tmp_path / "config.json").write_bytes(b"{"),
        "UnsafeFile": lambda: (tmp_path / "sub" / "link").symlink_to("/etc/passwd"),
    }
    for reason, change in changes.items():
        change()
        with pytest.raises(DataError) as caught:
            manifest.verify(tmp_path, digest)
        assert caught.value.reason == reason
        (tmp_path / "sub" / "evil.py").unlink(missing_ok=True)
        _model(tmp_path) if reason != "UnsafeFile" else None


def test_a_directory_that_is_a_link_is_refused(tmp_path: Path) -> None:
    digest = _model(tmp_path / "model")
    (tmp_path / "model" / "sub").rename(tmp_path / "elsewhere")
    (tmp_path / "model" / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError) as caught:
        manifest.verify(tmp_path / "model", digest)
    assert caught.value.reason == "UnsafeFile"


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "", ".", "a//b", "./a", "manifest.json"])
def test_a_path_that_leaves_the_directory_is_refused_before_anything_is_opened(tmp_path: Path, path: str) -> None:
    bad = Manifest(files=(ManifestFile(path=path, size=0, sha256="0" * 64),))
    (tmp_path / "manifest.json").write_text(bad.to_json())
    with pytest.raises(DataError) as caught:
        manifest.verify(tmp_path, bad.digest)
    assert caught.value.reason == "BadManifest"


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff", b'{"files": 3}'])
def test_no_manifest_and_no_json_are_told_apart(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(DataError) as caught:
        manifest.read(tmp_path)
    assert caught.value.reason == ("MissingManifest" if content is None else "BadManifest")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)
ENTRY = st.fixed_dictionaries(
    {}, optional={name: JSON | st.sampled_from(sorted(FILES)) | st.integers() for name in ("path", "size", "sha256")}
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=JSON | st.fixed_dictionaries({"files": st.lists(ENTRY | JSON, max_size=4)}))
def test_a_manifest_of_any_shape_is_read_or_refused(tmp_path: Path, content: object) -> None:
    _model(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with suppress(DataError):
        manifest.verify(tmp_path, manifest.read(tmp_path).digest)


def test_mutations_of_a_manifest_never_verify_as_the_one_that_was_written(tmp_path: Path) -> None:
    digest, chance = _model(tmp_path), random.Random(7)
    path = tmp_path / "manifest.json"
    whole, written = path.read_bytes(), manifest.read(tmp_path)
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(content))
            piece = chance.choice([b"[" * 99, b"{}", b"../", b"null", b"1e999", b"\\ud800", b"\xff", b"\x00"])
            content[at : at + chance.randrange(0, 20)] = chance.choice([piece, bytes([chance.randrange(256)]), b""])
        path.write_bytes(content)
        try:
            found = manifest.verify(tmp_path, digest)
        except DataError:
            continue
        assert found.files == written.files


def test_a_manifest_nested_deeply_or_of_huge_numbers_is_refused(tmp_path: Path) -> None:
    for content in (
        "[" * 10**6,
        '{"files":' * 10**5,
        '{"files":[{"path":"a","size":1' + "0" * 9999 + ',"sha256":""}]}',
    ):
        (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(DataError) as caught:
            manifest.read(tmp_path)
        assert caught.value.reason == "BadManifest"
