"""A model on somebody's volume becomes a sealed one, or is refused in words; nothing outside of that volume is read."""

import json
import os
import shutil
import socket
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deepseek_runtime.job import run
from deepseek_runtime.models import scratch
from deepseek_runtime.weights import manifest, safety
from deepseek_runtime.wire.exit_codes import ExitCode
from deepseek_runtime.wire.job import ImportJob, VerifyJob
from deepseek_runtime.wire.result import JobResult
from deepseek_runtime.wire.verification import FileDigest, SignatureCheck, Verification

from tests.unit.signing.official import key_pair, sign
from tests.unit.tiny import Reports, build_job


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's own files."""
    directory = tmp_path_factory.mktemp("made")
    scratch.run(build_job(directory, "Llama"), Reports())
    return directory / "volume" / "artifact"


@pytest.fixture
def claim(tmp_path: Path, made: Path) -> Path:
    """Somebody's volume: a model in `v1`, among other things."""
    root = tmp_path / "claim"
    shutil.copytree(made, root / "v1")
    (root / "v1" / "manifest.json").unlink()
    (root / "lost+found").mkdir(mode=0)
    return root


def take(claim: Path, path: str | None = "v1", **more: Any) -> tuple[JobResult, ExitCode]:
    job = ImportJob(
        identity="4" * 64, owner="DeepSeekModel/t/own", source="existingClaim/weights", input=str(claim),
        path=path, output=str(claim.parent / "own"), storage_size="10Gi", **more,
    )  # fmt: skip
    return run.run(job, port=0)


def test_the_copy_is_the_same_model_and_the_source_is_as_it_was(claim: Path, made: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in claim.glob("v1/*")}
    result, code = take(claim)
    assert code == ExitCode.DONE, result
    assert result.artifact is not None
    assert result.artifact.digest == manifest.read(made).digest
    manifest.verify(claim.parent / "own" / "artifact", result.artifact.digest)
    assert {path: path.stat().st_mtime_ns for path in claim.glob("v1/*")} == before
    shutil.rmtree(claim / "v1")
    again, _ = take(claim)
    assert (again.cached, again.artifact) == (True, result.artifact)
    claim.rename(claim.parent / "gone")
    assert take(claim)[0].cached


@pytest.mark.parametrize("path", ["v1", "./v1/", None])
def test_where_it_lies(claim: Path, path: str | None) -> None:
    if path is None:
        for file in (claim / "v1").iterdir():
            file.rename(claim / file.name)
    assert take(claim, path)[1] == ExitCode.DONE


def test_a_hubs_cache_is_links_within_the_volume(claim: Path) -> None:
    (claim / "blobs").mkdir()
    for file in (claim / "v1").iterdir():
        file.rename(claim / "blobs" / file.name)
        file.symlink_to(Path("..") / "blobs" / file.name)
    result, code = take(claim)
    assert code == ExitCode.DONE, result
    assert not any(path.is_symlink() for path in (claim.parent / "own" / "artifact").iterdir())


def test_what_a_training_leaves_beside_its_weights_is_left_there_unopened(claim: Path) -> None:
    for name in ("optimizer.pt", "training_args.bin", "modeling_deepseek.py", "other.safetensors"):
        (claim / "v1" / name).write_bytes(b"\x80\x04not to be read")
        (claim / "v1" / name).chmod(0)
    os.mkfifo(claim / "v1" / "pipe")
    result, code = take(claim)
    assert code == ExitCode.DONE, result
    names = {path.name for path in (claim.parent / "own" / "artifact").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not names & {"optimizer.pt", "training_args.bin", "modeling_deepseek.py", "other.safetensors", "pipe"}


HOSTILE = "{% if tools %}{{ messages.__class__.mro() }}{% endif %}"


def _config(**changes: object) -> Callable[[Path], object]:
    def change(model: Path) -> None:
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps({**config, **changes}))

    return change


def _replace(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    def change(model: Path) -> None:
        (model / name).unlink()
        make(model / name)

    return change


def _pickle(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _auto_map(model: Path) -> None:
    tokenizer = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps({**tokenizer, "auto_map": {"AutoTokenizer": "evil.Run"}}))


def _template(text: str) -> Callable[[Path], object]:
    return lambda model: (model / "chat_template.jinja").write_text(text)


def _named_template(model: Path) -> None:
    tokenizer = json.loads((model / "tokenizer_config.json").read_text())
    named = [{"name": "default", "template": "x"}, {"name": "tools", "template": HOSTILE}]
    (model / "tokenizer_config.json").write_text(json.dumps({**tokenizer, "chat_template": named}))


def _truncate(model: Path) -> None:
    os.truncate(model / "model.safetensors", (model / "model.safetensors").stat().st_size - 1)


@pytest.mark.parametrize(
    ("change", "reason", "said"),
    [
        (_pickle, "UnsafeModel", "pytorch_model.bin"),
        (_auto_map, "UnsafeModel", "tokenizer_config.json"),
        (_template(HOSTILE), "UnsafeTemplate", "chat_template.jinja is unsafe: it reaches for '__class__'"),
        (
            _template("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"),
            "UnsafeTemplate",
            "chat_template.jinja is unsafe: it takes more than 1 s",
        ),
        (_named_template, "UnsafeTemplate", "tokenizer_config.json is unsafe: it reaches for '__class__'"),
        (_config(architectures=["GPT2LMHeadModel"]), "UnknownArchitecture", "GPT2LMHeadModel"),
        (_config(num_hidden_layers="two"), "InvalidConfig", "num_hidden_layers"),
        (_config(quantization_config={"quant_method": "fp8"}), "UnsupportedQuantization", "fp8"),
        (_config(intermediate_size=40), "ShapeMismatch", "model.layers.0.mlp.gate_proj.weight in model.safetensors"),
        (_config(vocab_size=5000), "ShapeMismatch", "model.embed_tokens.weight in model.safetensors"),
        (_config(vocab_size=100), "BadTokenizer", "config.json says that vocab_size is 100"),
        (_replace("tokenizer.json", lambda path: path.write_text("{}")), "BadTokenizer", "tokenizer"),
        (_truncate, "BadWeights", "it is cut or padded"),
        (_replace("config.json", lambda path: None), "MissingFile", "config.json"),
        (_replace("config.json", lambda path: path.write_text("{")), "BadFile", "not JSON"),
        (_replace("model.safetensors", lambda path: None), "MissingFile", "config.json"),
        (_replace("model.safetensors", os.mkfifo), "UnsafeFile", "is a folder, a device or a pipe"),
        (_replace("model.safetensors", Path.mkdir), "UnsafeFile", "is a folder"),
        (_replace("model.safetensors", _socket), "UnsafeFile", "model.safetensors"),
        (_replace("config.json", lambda path: path.symlink_to("/etc/hostname")), "UnsafeFile", "out of the volume"),
        (_replace("config.json", lambda path: path.symlink_to("../../secret")), "UnsafeFile", "out of the volume"),
        (_replace("config.json", lambda path: path.symlink_to("config.json")), "UnsafeFile", "cannot be read"),
        (_replace("config.json", lambda path: path.symlink_to("nothing")), "PathNotFound", "v1/config.json"),
        (
            lambda model: (model / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../secret"}}'),
            "MissingFile",
            "../../secret, which its index names",
        ),
    ],
)
def test_what_is_no_model_or_not_safe_is_refused(
    claim: Path, change: Callable[[Path], object], reason: str, said: str
) -> None:
    (claim.parent / "secret").write_text("{}")
    change(claim / "v1")
    result, code = take(claim)
    assert (result.reason, code in (ExitCode.DATA, ExitCode.CONFIGURATION)) == (reason, True), result
    assert said in (result.message or "")
    assert not (claim.parent / "own" / "result.json").exists()


@pytest.mark.parametrize(
    ("path", "reason", "said"),
    [
        ("v2", "PathNotFound", "has no v2 that is a folder or file; its root holds lost+found, v1"),
        ("v1/config.json", "PathNotFound", "v1/config.json"),
        ("..", "UnsafeFile", "leads out of the volume"),
        ("v1/../../elsewhere", "UnsafeFile", "leads out of the volume"),
        ("/etc", "UnsafeFile", "leads out of the volume"),
        ("out", "UnsafeFile", "leads out of the volume"),
    ],
)
def test_a_place_that_is_not_there_or_outside(claim: Path, path: str, reason: str, said: str) -> None:
    (claim / "out").symlink_to(claim.parent)
    (claim.parent / "elsewhere").mkdir()
    if reason == "PathNotFound":
        (claim / "out").unlink()
    result, code = take(claim, path)
    assert (result.reason, code) == (reason, ExitCode.DATA)
    assert said in (result.message or "")


def test_an_empty_volume_says_so(tmp_path: Path) -> None:
    (tmp_path / "claim").mkdir()
    result, _ = take(tmp_path / "claim")
    assert "its root is empty" in (result.message or "")


def test_files_that_may_not_be_read_name_the_user_who_must(claim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = Path.stat

    def refused(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if self.name == "config.json":
            raise PermissionError(13, "Permission denied")
        return stat(self, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", refused)
    result, code = take(claim)
    assert (code, result.reason) == (ExitCode.DATA, "Unreadable")
    assert f"user {os.getuid()}, group {os.getgid()}" in (result.message or "")


def test_a_file_that_changes_while_it_is_copied_is_never_sealed(claim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deepseek_runtime.weights.copying import Copier

    copy = Copier.copy

    def changing(self: Copier, reading: object, target: Path, total: int) -> str:
        digest = copy(self, reading, target, total)  # type: ignore[arg-type]
        os.utime(claim / "v1" / target.name, ns=(1, 1))
        return digest

    monkeypatch.setattr(Copier, "copy", changing)
    result, code = take(claim)
    assert (code, result.reason) == (ExitCode.INTERNAL, "SourceChanged")
    assert not (claim.parent / "own" / "result.json").exists()


def test_a_volume_that_is_too_small_is_told_before_the_weights_are_copied(
    claim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100, 90, 10))
    result, code = take(claim)
    assert (code, result.reason) == (ExitCode.CONFIGURATION, "StorageTooSmall")
    assert "10 are available. Raise storage.size, which is 10Gi" in (result.message or "")
    (partial,) = (claim.parent / "own").glob(".partial-*")
    assert not (partial / "model.safetensors").exists()


def test_what_is_allowed_is_taken_and_still_not_run(claim: Path) -> None:
    _auto_map(claim / "v1")
    _template(HOSTILE)(claim / "v1")
    assert take(claim, allow=("UnsafeTemplate",))[0].reason == "UnsafeModel"
    assert take(claim, allow=("AutoMap",))[0].reason == "UnsafeTemplate"
    result, code = take(claim, allow=("AutoMap", "UnsafeTemplate"))
    assert code == ExitCode.DONE, result
    safety.check(claim.parent / "own" / "artifact")


def test_a_template_that_is_broken_or_wants_other_messages_is_no_danger(claim: Path) -> None:
    for text in ("{% for %}", "{{ raise_exception('only tools') }}", "{{ messages[7].content.x }}"):
        _template(text)(claim / "v1")
        shutil.rmtree(claim.parent / "own", ignore_errors=True)
        assert take(claim)[1] == ExitCode.DONE


def test_nothing_is_sealed_that_is_not_what_was_asked_for(claim: Path, made: Path, tmp_path: Path) -> None:
    pair = key_pair(tmp_path)
    asked = Verification(digest="d" * 64)
    result, code = take(claim, verification=asked)
    assert (result.reason, code) == ("VerificationFailed", ExitCode.DATA)
    assert f"{manifest.read(made).digest}, expected {'d' * 64}" in (result.message or "")
    signed = Verification(signature=SignatureCheck(public_key=pair.pem))
    result, code = take(claim, verification=signed)
    assert (result.reason, code) == ("SignatureInvalid", ExitCode.DATA)
    assert not (tmp_path / "own" / "result.json").exists()
    sign(claim / "v1", pair)
    result, code = take(claim, verification=signed)
    assert code == ExitCode.DONE, result
    assert result.verification is not None
    assert result.verification.asked == signed.identity
    assert (tmp_path / "own" / "artifact" / "model.sig").exists()


def test_what_is_sealed_is_verified_anew_when_something_else_is_asked(claim: Path, tmp_path: Path) -> None:
    sign(claim / "v1", key_pair(tmp_path))
    sealed, _ = take(claim)
    assert sealed.artifact is not None

    def verify(asked: Verification, digest: str, identity: str) -> tuple[JobResult, ExitCode]:
        job = VerifyJob(
            identity=identity, owner="DeepSeekModel/t/own", input=str(tmp_path / "own" / "artifact"),
            output=str(tmp_path / "own" / "evaluations"), input_digest=digest, verification=asked,
        )  # fmt: skip
        return run.run(job, port=0)

    asked = Verification(
        digest=sealed.artifact.digest,
        signature=SignatureCheck(public_key=(tmp_path / "key.pub").read_text()),
    )
    for cached in (False, True):
        result, code = verify(asked, sealed.artifact.digest, "5" * 64)
        assert (code, result.cached) == (ExitCode.DONE, cached), result
        assert result.verification is not None
        assert (result.verification.digest, result.verification.signed_name) == (sealed.artifact.digest, "v1")
    other = Verification(files=(FileDigest(path="config.json", sha256="e" * 64),))
    result, code = verify(other, sealed.artifact.digest, "6" * 64)
    assert (code, result.reason) == (ExitCode.DATA, "VerificationFailed")
    assert "config.json: SHA-256 is" in (result.message or "")
    weights = tmp_path / "own" / "artifact" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    result, code = verify(asked, sealed.artifact.digest, "7" * 64)
    assert (code, result.reason) == (ExitCode.DATA, "DigestMismatch")
    assert "model.safetensors" in (result.message or "")
