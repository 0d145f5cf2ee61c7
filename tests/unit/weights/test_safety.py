"""Nothing of a model is run: files that could are refused by name."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.weights import safety
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file


def _model(directory: Path) -> Path:
    (directory / "config.json").write_text("{}")
    save_file({"a": torch.zeros(2)}, directory / "model.safetensors")
    return directory


def _index(directory: Path, weight_map: object) -> None:
    (directory / safety.INDEX).write_text(json.dumps({"weight_map": weight_map}))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "x/y.PT", "optimizer.pkl", "model.ckpt"])
def test_pickles_are_refused_wherever_they_lie(tmp_path: Path, name: str) -> None:
    path = _model(tmp_path) / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match=path.name) as caught:
        safety.check(tmp_path)
    assert caught.value.reason == "UnsafeModel"


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_configuration_that_asks_for_code_is_refused(tmp_path: Path, name: str) -> None:
    (_model(tmp_path) / name).write_text('{"auto_map": {"AutoConfig": "evil.Config"}}')
    with pytest.raises(DataError, match=f"{name} asks for code"):
        safety.check_no_code(tmp_path)


def test_code_of_an_architecture_that_is_built_in_is_not_needed(tmp_path: Path) -> None:
    config = {"architectures": ["DeepseekV2ForCausalLM"], "auto_map": {"AutoConfig": "configuration_deepseek.Config"}}
    (_model(tmp_path) / "config.json").write_text(json.dumps(config))
    safety.check_no_code(tmp_path)
    assert len(safety.check(tmp_path)) == 1


@pytest.mark.parametrize(
    "name",
    [
        "../model.safetensors",
        "/etc/model.safetensors",
        "a/b.safetensors",
        "model.bin",
        7,
        [],
        {},
        "\0.safetensors",
        "\ud800.safetensors",
    ],
)
def test_an_index_names_only_weight_files_beside_it(tmp_path: Path, name: object) -> None:
    _index(_model(tmp_path), {"a": name})
    with pytest.raises(DataError) as caught:
        safety.check(tmp_path)
    assert caught.value.reason == "UnsafeModel"


def test_shards_of_an_index_are_found_and_a_tensor_is_in_one_of_them(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, _model(tmp_path) / "one.safetensors")
    save_file({"b": torch.zeros(2)}, tmp_path / "two.safetensors")
    _index(tmp_path, {"a": "one.safetensors", "b": "two.safetensors"})
    assert [list(shard.tensors) for shard in safety.check(tmp_path)] == [["a"], ["b"]]
    save_file({"a": torch.ones(2)}, tmp_path / "two.safetensors")
    with pytest.raises(DataError, match="Tensor a is in"):
        safety.check(tmp_path)


def test_a_model_without_weights_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        safety.check(tmp_path)
    assert caught.value.reason == "MissingFile"


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x95" + bytes(5) + b"\x8c\x05posix\x8c\x06system\x93.",
        b"PK\x03\x04" + bytes(200),
        b"\x93NUMPY" + bytes(200),
        b"",
    ],
)
def test_what_only_bears_the_name_of_safetensors_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (_model(tmp_path) / "model.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=r"model\.safetensors is not a safetensors file: its header claims") as caught:
        safety.check(tmp_path)
    assert caught.value.reason == "BadWeights"


def test_a_shard_that_the_index_names_and_nobody_brought_is_named(tmp_path: Path) -> None:
    _index(_model(tmp_path), {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"})
    with pytest.raises(DataError, match=r"model-00002-of-00002\.safetensors.*No such file"):
        safety.check(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(index=st.one_of(JSON, st.fixed_dictionaries({"weight_map": JSON})), config=JSON)
def test_an_index_and_a_configuration_of_any_shape_are_read_or_refused(
    tmp_path: Path, index: object, config: object
) -> None:
    directory = _model(tmp_path)
    (directory / safety.INDEX).write_text(json.dumps(index))
    (directory / "config.json").write_text(json.dumps(config))
    for check in (safety.check, safety.check_no_code):
        with suppress(DataError):
            check(directory)
