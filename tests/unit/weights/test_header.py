"""A weight file that nobody vouches for is refused with its name, whatever is wrong with it."""

import json
import random
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.weights import header
from deepseek_runtime.weights.writer import DTYPES, Writer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file


def _file(path: Path, entries: object, data: int) -> Path:
    text = json.dumps(entries).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(data))
    return path


def _tensor(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_reads_what_the_reference_implementation_writes(tmp_path: Path) -> None:
    tensors = {"b": torch.zeros(3, 5, dtype=torch.bfloat16), "a": torch.ones(()), "empty": torch.zeros(0, 4)}
    save_file(tensors, tmp_path / "x.safetensors")
    found = header.read(tmp_path / "x.safetensors")
    assert {name: (info.dtype, info.shape) for name, info in found.items()} == {
        "b": ("BF16", (3, 5)),
        "a": ("F32", ()),
        "empty": ("F32", (0, 4)),
    }


@pytest.mark.parametrize(
    ("entries", "data", "why"),
    [
        ({"a": _tensor(), "b": _tensor(offsets=(4, 12))}, 12, "overlap"),
        ({"a": _tensor(), "b": _tensor(offsets=(12, 20))}, 20, "hole"),
        ({"a": _tensor()}, 7, "cut or padded"),
        ({"a": _tensor()}, 9, "cut or padded"),
        ({"a": _tensor(dtype="F33")}, 8, "unknown dtype"),
        ({"a": _tensor(dtype=["F32"])}, 8, "unknown dtype"),
        ({"a": _tensor(shape=(3,))}, 8, "does not have 8 bytes"),
        ({"a": _tensor(shape=(-1, -2))}, 8, "no list of sizes"),
        ({"a": _tensor(shape=(True, 2))}, 8, "no list of sizes"),
        ({"a": _tensor(offsets=(8, 0))}, 8, "does not have"),
        ({"a": _tensor(offsets=(0, 8, 8))}, 8, "no list of sizes"),
        ({"a": None}, 0, "no description"),
        ([], 0, "not a JSON object"),
    ],
)
def test_refuses_what_does_not_fit_together(tmp_path: Path, entries: object, data: int, why: str) -> None:
    path = _file(tmp_path / "bad.safetensors", entries, data)
    with pytest.raises(DataError, match=why) as caught:
        header.read(path)
    assert caught.value.reason == "BadWeights"
    assert str(path) in caught.value.message


@pytest.mark.parametrize("length", [0, 1, 2**63, 2**64 - 1, 100])
def test_refuses_a_header_longer_than_the_file(tmp_path: Path, length: int) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{}")
    with pytest.raises(DataError, match="header claims"):
        header.read(path)


def test_refuses_a_name_that_stands_twice_and_deep_nesting(tmp_path: Path) -> None:
    entry = json.dumps(_tensor())
    for text, why in ((f'{{"a":{entry},"a":{entry}}}', "twice"), ('{"a":' + "[" * 100_000, "not JSON")):
        path = tmp_path / "bad.safetensors"
        path.write_bytes(len(text).to_bytes(8, "little") + text.encode() + bytes(8))
        with pytest.raises(DataError, match=why):
            header.read(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 200), value=st.integers(0, 255), cut=st.integers(0, 3))
def test_a_damaged_file_is_read_or_refused_and_never_read_where_the_reference_refuses(
    tmp_path: Path, position: int, value: int, cut: int
) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.arange(6.0).reshape(2, 3), "b": torch.arange(4, dtype=torch.int8)}, path)
    content = bytearray(path.read_bytes())
    content[position % len(content)] = value
    path.write_bytes(content[: len(content) - cut])
    try:
        header.read(path)
    except DataError:
        return
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 safe_open is no mapping
                file.get_tensor(name)
    except SafetensorError as error:
        pytest.fail(f"read here, refused by the reference implementation: {error}")


def test_the_writer_writes_what_the_reference_reads_whatever_the_order(tmp_path: Path) -> None:
    tensors = {
        "odd": torch.arange(3, dtype=torch.int8),
        "wide": torch.arange(4, dtype=torch.int64),
        "half": torch.randn(3, 5).to(torch.bfloat16),
        "scalar": torch.tensor(2.5),
        "turned": torch.randn(4, 6).t(),
    }
    names = {dtype: name for name, dtype in DTYPES.items()}
    path = tmp_path / "x.safetensors"
    with Writer(path, {name: (names[t.dtype], tuple(t.shape)) for name, t in tensors.items()}) as writer:
        for name, tensor in tensors.items():
            writer.write(name, tensor)
    loaded = load_file(path)
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert all(info.begin % header.ITEM_SIZE[info.dtype] == 0 for info in header.read(path).values())


def test_the_writer_refuses_what_was_not_announced_and_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="announced"), Writer(tmp_path / "a", {"x": ("F32", (2,))}) as writer:
        writer.write("x", torch.zeros(3))
    with pytest.raises(ValueError, match="never written: x"), Writer(tmp_path / "b", {"x": ("F32", (2,))}):
        pass


@pytest.mark.parametrize("claimed", [header.MAX_HEADER + 1, 1 << 31, 1 << 40])
def test_a_header_of_two_gigabytes_is_refused_unread(tmp_path: Path, claimed: int) -> None:
    """The file is as long as it claims, and takes no space: a hole."""
    path = tmp_path / "huge.safetensors"
    with path.open("wb") as file:
        file.write(claimed.to_bytes(8, "little") + b'{"a":')
        file.truncate(8 + claimed)
    tracemalloc.start()
    began = time.monotonic()
    with pytest.raises(DataError, match=r"huge\.safetensors .* its header claims"):
        header.read(path)
    assert time.monotonic() - began < 1
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


HEADERS = st.dictionaries(
    st.sampled_from(["a", "b", header.METADATA]),
    st.none()
    | st.text(max_size=3)
    | st.fixed_dictionaries(
        {},
        optional={
            "dtype": st.sampled_from([*header.ITEM_SIZE, "F4", 4, None, {}]),
            "shape": st.lists(st.integers(-2, 2**64) | st.just(2.0) | st.none(), max_size=4) | st.integers(),
            "data_offsets": st.lists(st.integers(-2, 2**64), max_size=3) | st.none(),
        },
    ),
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=HEADERS, data=st.integers(0, 20))
def test_a_header_of_any_shape_is_read_or_refused(tmp_path: Path, entries: object, data: int) -> None:
    with suppress(DataError):
        header.read(_file(tmp_path / "any.safetensors", entries, data))


def test_a_thousand_mutations_of_a_file_are_read_or_refused_and_soon(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({f"layer.{n}.weight": torch.zeros(n, 3) for n in range(12)}, path)
    whole, chance = path.read_bytes(), random.Random(7)
    pieces = [b"[" * 50, b"{" * 50, b'"', b"-1", b"1e999", b"NaN", b"18446744073709551616", b"\x00", b"\xff\xfe", b","]
    slowest = 0.0
    for _ in range(1000):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(content))
            match chance.randrange(4):
                case 0:
                    content[at] = chance.randrange(256)
                case 1:
                    content[at : at + chance.randrange(1, 40)] = chance.choice(pieces)
                case 2:
                    del content[at : at + chance.randrange(1, 40)]
                case _:
                    content[at:at] = content[: chance.randrange(1, 60)]
        if content and chance.random() < 0.7:  # a length that leads further into the file
            text = bytes(content[8:])
            content[:8] = (text.rfind(b"}") + 1).to_bytes(8, "little")
        path.write_bytes(content)
        began = time.monotonic()
        with suppress(DataError):
            header.read(path)
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 2
