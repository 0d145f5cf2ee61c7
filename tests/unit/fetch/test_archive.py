"""Archives of strangers end in plain files beneath the root, or in an error that names what is wrong."""

import gzip
import io
import stat
import tarfile
import zipfile
from pathlib import Path
from unittest import mock

import pytest
from deepseek_runtime.fetch import archive
from deepseek_runtime.job.errors import DataError
from hypothesis import given, settings
from hypothesis import strategies as st

FILES = {"m/config.json": b"{}", "m/model.safetensors": bytes(range(256)) * 40}


def tarred(*more: tarfile.TarInfo, files: dict[str, bytes] = FILES, compressed: bool = False) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in more:
            tar.addfile(info)
    return gzip.compress(packed.getvalue()) if compressed else packed.getvalue()


def zipped(*more: zipfile.ZipInfo, files: dict[str, bytes] = FILES) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archived:
        for name, data in files.items():
            archived.writestr(name, data)
        for info in more:
            archived.writestr(info, "m/config.json")
    return packed.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def linked() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("m/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def unpacked(directory: Path, data: bytes) -> dict[str, str]:
    """All of an archive beneath `root`; fails where anything else was made."""
    root, path = directory / "root", directory / "archive"
    root.mkdir(exist_ok=True)
    path.write_bytes(data)
    found = archive.members(path, "the archive")
    hashes = archive.unpack(path, "the archive", root, {member.path: member.path for member in found})
    for made in directory.rglob("*"):
        assert not made.is_symlink()
        assert made.is_dir() or made.is_file()
    assert {made.name for made in directory.iterdir()} == {"root", "archive"}
    return hashes


@pytest.mark.parametrize("data", [tarred(), tarred(compressed=True), zipped()], ids=["tar", "tar.gz", "zip"])
def test_plain_files_come_out_as_they_went_in(tmp_path: Path, data: bytes) -> None:
    assert set(unpacked(tmp_path, data)) == set(FILES)
    for name, content in FILES.items():
        assert (tmp_path / "root" / name).read_bytes() == content


@pytest.mark.parametrize(
    ("data", "reason", "says"),
    [
        (tarred(special("m/x", tarfile.SYMTYPE, "/etc/passwd")), "UnsafeFile", "'m/x' in the archive is a link"),
        (tarred(special("m/x", tarfile.LNKTYPE, "m/config.json")), "UnsafeFile", "'m/x'"),
        (tarred(special("m/x", tarfile.CHRTYPE)), "UnsafeFile", "'m/x'"),
        (tarred(special("m/x", tarfile.FIFOTYPE)), "UnsafeFile", "'m/x'"),
        (tarred(files={"m/../../x": b"1"}), "UnsafeName", "leaves its folder"),
        (tarred(files={"/etc/x": b"1"}), "UnsafeName", "leaves its folder"),
        (tarred(tarfile.TarInfo("m/config.json")), "UnsafeName", "is twice"),
        (zipped(linked()), "UnsafeFile", "'m/link'"),
        (zipped(files={"../x": b"1"}), "UnsafeName", "leaves its folder"),
        (b"", "BadArchive", "no tar, tar.gz or zip"),
        (tarred()[:6000], "BadArchive", "Pack it anew"),
        (tarred(compressed=True)[:-30], "BadArchive", "Pack it anew"),
        (zipped()[:-30], "BadArchive", "Pack it anew"),
        (zipped()[:-6] + b"\xff\xff\0\0" + zipped()[-2:], "BadArchive", "Pack it anew"),  # entries before its begin
    ],
)
def test_what_is_refused_is_named(tmp_path: Path, data: bytes, reason: str, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        unpacked(tmp_path, data)
    assert caught.value.reason == reason


def test_a_header_that_asks_for_more_than_memory_holds(tmp_path: Path) -> None:
    """A long name of 4 GB, which compresses to nothing."""
    info = special("m/x", tarfile.GNUTYPE_LONGNAME)
    info.size = 4 << 30
    data = gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))
    with pytest.raises(DataError) as caught:
        unpacked(tmp_path, data)
    assert caught.value.reason == "BadArchive"


@pytest.mark.parametrize("data", [tarred(), zipped()], ids=["tar", "zip"])
def test_more_entries_than_memory_should_hold(tmp_path: Path, data: bytes) -> None:
    with mock.patch.object(archive, "_MOST", 1), pytest.raises(DataError, match="more than 1 entries") as caught:
        unpacked(tmp_path, data)
    assert caught.value.reason == "InvalidSource"


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([tarred(), zipped(), tarred(compressed=True)]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=40)), max_size=4),
    st.floats(0, 1),
    st.booleans(),
)
def test_broken_ones_end_in_words(
    tmp_path_factory: pytest.TempPathFactory,
    data: bytes,
    changes: list[tuple[float, bytes]],
    length: float,
    begin: bool,
) -> None:
    broken = bytearray(data)
    for where, what in changes:
        at = int(where * (600 if begin else len(broken)))
        broken[at : at + len(what)] = what
    try:
        hashes = unpacked(tmp_path_factory.mktemp("fuzz"), bytes(broken[: int(length * len(broken)) or None]))
    except DataError as error:
        assert error.reason in {"BadArchive", "UnsafeFile", "UnsafeName"}
    else:
        assert all(len(found) == 64 for found in hashes.values())


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=2000))
def test_noise(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    try:
        unpacked(tmp_path_factory.mktemp("noise"), data)
    except DataError as error:
        assert error.reason == "BadArchive"
