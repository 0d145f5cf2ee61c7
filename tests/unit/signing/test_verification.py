"""A model is the one that was meant, signed by whom it should be, or it is refused with the file's name."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.signing import bundle, keys, statement, verification
from deepseek_runtime.weights import manifest
from deepseek_runtime.wire.manifest import Manifest
from deepseek_runtime.wire.verification import FileDigest, SignatureCheck, Verification
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.signing.official import KeyPair, key_pair, sign, verify

FILES = {"config.json": b"{}", "model.safetensors": bytes(999), "README.md": b"read me", "sub/x.json": b"1"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return key_pair(tmp_path_factory.mktemp("keys"))


def model(directory: Path, files: dict[str, bytes] = FILES) -> Path:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    return directory


def signature(pair: KeyPair, **more: Any) -> Verification:
    return Verification(signature=SignatureCheck(public_key=pair.pem, **more))


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_what_the_official_tool_signs_is_verified_with_the_name_of_the_key(
    tmp_path: Path, curve: ec.EllipticCurve
) -> None:
    pair, directory = key_pair(tmp_path, curve=curve), model(tmp_path / "tiny")
    sign(directory, pair)
    asked = signature(pair)
    verified = verification.check(directory, manifest.write(directory), asked)
    assert verified.signer == keys.fingerprint(keys.public_key(pair.pem))
    assert (verified.signed_name, verified.asked) == ("tiny", asked.identity)
    (directory / "manifest.json").unlink()
    (directory / "README.md").unlink()  # signed, and nothing that is read
    verification.check(directory, manifest.write(directory), asked)


def _change(name: str, content: bytes | None) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        (directory / name).unlink(missing_ok=True)
        if content is not None:
            (directory / name).write_bytes(content)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_change("model.safetensors", bytes(998) + b"\1"), r"model.safetensors: SHA-256 is \w{64}, expected \w{64}"),
        (_change("config.json", b"[]"), "config.json: SHA-256 is"),
        (_change("evil.json", b"1"), "evil.json is among the model's files and not signed"),
        (_change("config.json", None), "config.json is signed by model.sig and not among the model's files"),
        (_change("model.sig", None), "model.sig is not among the model's files"),
        (_change("model.sig", b""), "model.sig is no Sigstore bundle"),
        (_change("model.sig", b"\x80\x04."), "model.sig is no Sigstore bundle"),
        (_change("model.sig", b"[" * 99_999), "model.sig is no Sigstore bundle"),
    ],
)
def test_what_the_signature_does_not_cover_is_refused(
    tmp_path: Path, pair: KeyPair, change: Callable[[Path], None], said: str
) -> None:
    directory = model(tmp_path / "tiny")
    sign(directory, pair)
    change(directory)
    with pytest.raises(DataError, match=said) as caught:
        verification.check(directory, manifest.write(directory), signature(pair))
    assert caught.value.reason == "SignatureInvalid"


def test_a_file_that_the_source_leaves_out_may_be_missing(tmp_path: Path, pair: KeyPair) -> None:
    directory = model(tmp_path / "tiny", {**FILES, "extra.json": b"1"})
    sign(directory, pair)
    (directory / "extra.json").unlink()
    listed = manifest.write(directory)
    for chosen in ({"exclude": ("extra.*",)}, {"include": ("config.json", "*.safetensors", "*.sig")}):
        assert verification.check(directory, listed, signature(pair, **chosen)).signer
    with pytest.raises(DataError, match=r"extra\.json is signed"):
        verification.check(directory, listed, signature(pair))


def test_another_key_and_keys_of_other_kinds_are_refused(tmp_path: Path, pair: KeyPair) -> None:
    directory = model(tmp_path / "tiny")
    sign(directory, pair)
    listed = manifest.write(directory)
    other = key_pair(tmp_path, "other")
    with pytest.raises(DataError, match="is signed by another key") as caught:
        verification.check(directory, listed, signature(other))
    assert keys.fingerprint(keys.public_key(other.pem)) in caught.value.message
    forged = json.loads((directory / "model.sig").read_text())
    forged["verificationMaterial"]["publicKey"]["hint"] = keys.hint(keys.public_key(other.pem))
    (directory / "model.sig").write_text(json.dumps(forged))
    with pytest.raises(DataError, match="has no valid signature by the key"):
        verification.check(directory, manifest.write(directory), signature(other))
    for pem in (
        "",
        "x",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        key_pair(tmp_path, "k1", ec.SECP256K1()).pem,
    ):
        with pytest.raises(ConfigurationError) as refused:
            verification.check(directory, listed, Verification(signature=SignatureCheck(public_key=pem)))
        assert refused.value.reason == "InvalidKey"


@pytest.mark.parametrize(
    ("predicate", "said"),
    [
        ({"serialization": {"method": "shards", "hash_type": "sha256"}, "resources": []}, "signs shards"),
        ({"serialization": {"method": "files", "hash_type": "blake3"}, "resources": []}, "signs shards or other"),
        ({"resources": []}, "signs no list of files"),
        ("x", "signs no list of files"),
        ({"serialization": {"method": "files", "hash_type": "sha256"}, "resources": [3]}, "without name or SHA-256"),
    ],
)
def test_a_statement_of_other_form_is_no_proof(tmp_path: Path, pair: KeyPair, predicate: object, said: str) -> None:
    made = statement.model_statement("tiny", {}) | {"predicate": predicate}
    directory = model(tmp_path / "tiny")
    (directory / "model.sig").write_text(bundle.wrap(made, keys.private_key(pair.private)))
    with pytest.raises(DataError, match=said):
        verification.check(directory, manifest.write(directory), signature(pair))


def test_files_that_do_not_have_the_subjects_digest_contradict_it(tmp_path: Path, pair: KeyPair) -> None:
    directory = model(tmp_path / "tiny")
    listed = {file.path: file.sha256 for file in manifest.write(directory).files}
    made = statement.model_statement("tiny", listed)
    made["subject"][0]["digest"]["sha256"] = "0" * 64
    (directory / "model.sig").write_text(bundle.wrap(made, keys.private_key(pair.private)))
    with pytest.raises(DataError, match="contradicts itself"):
        verification.check(directory, manifest.write(directory), signature(pair))


def test_the_official_tool_verifies_what_is_signed_here_and_refuses_it_when_a_file_changed(
    tmp_path: Path, pair: KeyPair
) -> None:
    directory = model(tmp_path / "tiny")
    listed = {file.path: file.sha256 for file in manifest.write(directory).files}
    (directory / "manifest.json").unlink()
    made = statement.model_statement("tiny", listed, anything={"else": 1})
    (tmp_path / "model.sig").write_text(bundle.wrap(made, keys.private_key(pair.private)))
    assert verify(directory, pair, tmp_path / "model.sig") is None
    (directory / "sub" / "x.json").write_bytes(b"2")
    said = verify(directory, pair, tmp_path / "model.sig")
    assert said is not None
    assert "sub/x.json" in said


DIGEST = st.text("0123456789abcdef", min_size=64, max_size=64)


@settings(max_examples=60, deadline=None)
@given(files=st.dictionaries(st.sampled_from(sorted(FILES)), DIGEST, max_size=2), other=DIGEST)
def test_digests_that_are_asked_for_are_those_of_the_files_or_nothing(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, str], other: str
) -> None:
    listed = Manifest.model_validate({"files": [{"path": n, "size": 1, "sha256": "a" * 64} for n in sorted(FILES)]})
    asked = Verification(files=tuple(FileDigest(path=path, sha256=sha256) for path, sha256 in files.items()))
    if all(sha256 == "a" * 64 for sha256 in files.values()):
        assert verification.check(Path(), listed, asked).files == len(files)
    else:
        with pytest.raises(DataError, match=r"SHA-256 is a{64}, expected"):
            verification.check(Path(), listed, asked)
    with pytest.raises(DataError, match=f"manifest is {listed.digest}, expected {other}"):
        verification.check(Path(), listed, Verification(digest=other))
    with pytest.raises(DataError, match=r"gone\.json is not among the model's files"):
        verification.check(Path(), listed, Verification(files=(FileDigest(path="gone.json", sha256=other),)))
    assert verification.check(Path(), listed, Verification(digest=listed.digest)).digest == listed.digest


@settings(max_examples=150, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), flipped=st.integers(1, 255))
def test_a_damaged_bundle_is_never_a_proof_and_never_another_error(pair: KeyPair, place: float, flipped: int) -> None:
    """No two signatures of the same have the same length, so the place is a share of it."""
    made = statement.model_statement("tiny", {"a": "b" * 64})
    whole = json.loads(bundle.wrap(made, keys.private_key(pair.private)))
    text = bytearray(json.dumps(whole).encode())
    text[int(place * len(text))] ^= flipped
    try:
        found = statement.signed_files(bundle.unwrap(bytes(text), keys.public_key(pair.pem)))
    except bundle.BadBundleError:
        return
    assert found == {"a": "b" * 64}, "what is not signed (a key's id, say) may be damaged"


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner))
PARTS = ["_type", "subject", "predicateType", "predicate", "serialization", "resources", "name", "digest", "sha256"]


@settings(max_examples=150, deadline=None)
@given(part=st.sampled_from(PARTS), value=VALUES)
def test_a_signed_statement_of_any_shape_is_read_or_refused(pair: KeyPair, part: str, value: object) -> None:
    """Whoever holds the key may sign anything; it is still only data."""
    made = _with(statement.model_statement("tiny", {"a": "b" * 64}), part, value)
    text = bundle.wrap(made, keys.private_key(pair.private)).encode()
    try:
        unwrapped = bundle.unwrap(text, keys.public_key(pair.pem))
        statement.signed_files(unwrapped)
        statement.signed_name(unwrapped)
    except bundle.BadBundleError as error:
        assert 5 < len(str(error)) < 400


def _with(value: Any, part: str, new: object) -> Any:
    if isinstance(value, list):
        return [_with(item, part, new) for item in value]
    if isinstance(value, dict):
        return {key: new if key == part else _with(item, part, new) for key, item in value.items()}
    return value


def test_a_signature_over_another_type_of_payload_does_not_count(pair: KeyPair) -> None:
    whole = json.loads(bundle.wrap(statement.model_statement("tiny", {}), keys.private_key(pair.private)))
    assert base64.b64decode(whole["dsseEnvelope"]["payload"])
    for path, value, said in (
        (("mediaType",), "application/json", "version 0.3"),
        (("verificationMaterial",), {"certificate": {}}, "certificate"),
        (("dsseEnvelope", "payloadType"), "text/plain", "something else"),
        (("dsseEnvelope", "signatures"), [], "one signature"),
        (("dsseEnvelope", "payload"), "?", "not base64"),
    ):
        changed = json.loads(json.dumps(whole))
        *parents, last = path
        at = changed
        for key in parents:
            at = at[key]
        at[last] = value
        with pytest.raises(bundle.BadBundleError, match=said):
            bundle.unwrap(json.dumps(changed).encode(), keys.public_key(pair.pem))
