"""Killed at any moment, a place holds the whole result or none, and the next attempt ends well."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.weights import manifest, seal
from deepseek_runtime.wire.attention import Attention
from deepseek_runtime.wire.result import Architecture, Artifact, JobResult

IDENTITY = "a" * 64
OTHER = "b" * 64
ARCHITECTURE = Architecture(
    name="LlamaForCausalLM",
    parameters=1,
    layers=1,
    hidden_size=1,
    attention_heads=1,
    key_value_heads=1,
    vocab_size=1,
    context_length=1,
)


class Killed(BaseException):
    """The process is gone."""


def _work(output: Path, identity: str = IDENTITY) -> JobResult:
    directory = seal.partial(output, identity)
    (directory / "sub").mkdir()
    (directory / "sub" / "weights").write_bytes(b"weights")
    written = manifest.write(directory)
    artifact = Artifact(digest=written.digest, bytes=written.size, files=1, dtype="float32", architecture=ARCHITECTURE)
    result = JobResult(kind="build", identity=identity, outcome="succeeded", artifact=artifact)
    return seal.seal(output, identity, result)


def _kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> Callable[[], int]:
    """Every call that changes or syncs the volume counts; the one with this number never happens."""
    count = 0

    def guard(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == step:
                raise Killed
            return original(*args, **kwargs)

        return call

    for owner, name in (
        (os, "fsync"),
        (shutil, "rmtree"),
        (Path, "rename"),
        (Path, "mkdir"),
        (Path, "write_text"),
        (Path, "write_bytes"),
    ):
        monkeypatch.setattr(owner, name, guard(getattr(owner, name)))
    return lambda: count


STEPS = 20
"""A work has no more, also when it finds the leftovers of a killed one."""


@pytest.mark.parametrize("leftovers", [False, True])
@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_kill_at_any_step_leaves_all_or_nothing(tmp_path: Path, step: int, leftovers: bool) -> None:
    output = tmp_path / "volume"
    if leftovers:  # of an attempt that died between the artifact's rename and its result
        (output / "artifact").mkdir(parents=True)
        (output / "artifact" / "half").write_text("half")
        (output / f".partial-{OTHER}").mkdir()
    with pytest.MonkeyPatch.context() as patched:
        counted = _kill_at(patched, step)
        try:
            _work(output)
            killed = False
        except Killed:
            killed = True
    assert killed or counted() < step
    found = seal.sealed(output, IDENTITY)
    assert found is None or found.cached
    if not killed:
        assert found is not None
    if found is None:
        _work(output)
        found = seal.sealed(output, IDENTITY)
    assert found is not None
    assert found.artifact is not None
    manifest.verify(output / "artifact", found.artifact.digest)
    assert (output / "evaluations").is_dir()
    assert not list(output.glob(".partial-*"))


def test_the_steps_cover_all_of_a_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "artifact").mkdir()
    counted = _kill_at(monkeypatch, 10**6)
    _work(tmp_path)
    assert 10 < counted() <= STEPS


def test_what_is_found_is_what_was_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSEEK_IMAGE", "registry/runtime:1")
    result = _work(tmp_path)
    assert (result.image, result.cached) == ("registry/runtime:1", False)
    assert result.started_at is not None
    assert result.finished_at is not None
    assert seal.sealed(tmp_path, IDENTITY) == result.model_copy(update={"cached": True})


def test_another_works_result_is_not_touched(tmp_path: Path) -> None:
    _work(tmp_path)
    with pytest.raises(DataError, match=IDENTITY) as caught:
        seal.sealed(tmp_path, OTHER)
    assert caught.value.reason == "SealedByOther"


@pytest.mark.parametrize("content", ["", "{}", '{"kind":"build","identity":"x","outcome":"failed"}', "\udcff"])
def test_a_result_that_is_none_is_said_to_be_broken(tmp_path: Path, content: str) -> None:
    (tmp_path / "result.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(DataError) as caught:
        seal.sealed(tmp_path, IDENTITY)
    assert caught.value.reason == "SealBroken"


def test_a_result_without_its_artifact_is_broken(tmp_path: Path) -> None:
    _work(tmp_path)
    (tmp_path / "artifact" / "manifest.json").write_text('{"files": []}')
    with pytest.raises(DataError) as caught:
        seal.sealed(tmp_path, IDENTITY)
    assert caught.value.reason == "SealBroken"


def test_a_result_alone_is_sealed_without_an_artifact(tmp_path: Path) -> None:
    seal.seal(tmp_path / "deep" / "er", IDENTITY, JobResult(kind="evaluate", identity=IDENTITY, outcome="succeeded"))
    assert sorted(path.name for path in (tmp_path / "deep" / "er").iterdir()) == ["result.json"]
    assert seal.sealed(tmp_path / "deep" / "er", IDENTITY) is not None


def test_facts_that_an_older_runtime_did_not_seal_are_read_from_what_it_did(tmp_path: Path) -> None:
    output = tmp_path / "volume"
    directory = seal.partial(output, IDENTITY)
    config = {"architectures": ["LlamaForCausalLM"], "hidden_size": 64, "num_attention_heads": 4}
    (directory / "config.json").write_text(json.dumps(config), "utf-8")
    (directory / "model.safetensors").write_bytes(b"weights")
    written = manifest.write(directory)
    artifact = Artifact(digest=written.digest, bytes=written.size, files=2, dtype="float32", architecture=ARCHITECTURE)
    seal.seal(output, IDENTITY, JobResult(kind="build", identity=IDENTITY, outcome="succeeded", artifact=artifact))
    found = seal.sealed(output, IDENTITY)
    assert found is not None
    assert found.artifact is not None
    assert found.artifact.weight_bytes == len(b"weights")
    assert found.artifact.architecture.attention == Attention(kind="groupedQuery", head_dim=16)
    assert found.artifact.digest == written.digest
