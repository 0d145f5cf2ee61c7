"""What is made here is signed with its provenance, and the official tool verifies both by one signature."""

import base64
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from deepseek_runtime.export.gguf import model as gguf
from deepseek_runtime.job import run
from deepseek_runtime.models import scratch
from deepseek_runtime.quantize import model as quantize
from deepseek_runtime.signing import bundle, keys
from deepseek_runtime.wire.base import digest
from deepseek_runtime.wire.exit_codes import ExitCode
from deepseek_runtime.wire.job import ExportJob, SignJob
from deepseek_runtime.wire.result import JobResult

from tests.unit.signing.official import KeyPair, key_pair, verify
from tests.unit.tiny import Reports, build_job, quantize_job


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The volume of a variant, and the work that made it."""
    directory = tmp_path_factory.mktemp("made")
    base = scratch.run(build_job(directory, "Llama"), Reports()).artifact
    assert base is not None
    work = {"kind": "quantize", "inputs": {"digest": base.digest}, "recipe": {"scheme": "int8"}, "algorithm": 1}
    job = quantize_job(directory / "volume" / "artifact", base.digest, directory / "int8")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DEEPSEEK_IMAGE", "registry/runtime:1")
        quantize.run(job.model_copy(update={"identity": digest(work)}), Reports())
    return directory / "int8", work


@pytest.fixture
def variant(tmp_path: Path, made: tuple[Path, dict[str, Any]]) -> tuple[Path, dict[str, Any]]:
    shutil.copytree(made[0], tmp_path / "int8")
    return tmp_path / "int8", made[1]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return key_pair(tmp_path_factory.mktemp("keys"))


def sign(volume: Path, work: dict[str, Any], key: Path) -> tuple[JobResult, ExitCode]:
    result = json.loads((volume / "result.json").read_text())
    job = SignJob(
        identity="8" * 64, owner="DeepSeekModel/team/own", input=str(volume / "artifact"),
        output=str(volume / "evaluations"), input_digest=result["artifact"]["digest"], name="team/own/int8", work=work,
        key_file=str(key),
    )  # fmt: skip
    return run.run(job, port=0)


def payload(path: Path) -> Any:
    return json.loads(base64.b64decode(json.loads(path.read_text())["dsseEnvelope"]["payload"]))


def test_one_signature_proves_files_and_provenance(variant: tuple[Path, dict[str, Any]], pair: KeyPair) -> None:
    volume, work = variant
    result, code = sign(volume, work, pair.private)
    assert code == ExitCode.DONE, result
    assert result.signature is not None
    assert result.signature.signer == keys.fingerprint(keys.public_key(pair.pem))
    signature = volume / "evaluations" / ("8" * 64) / "model.sig"
    assert verify(volume / "artifact", pair, signature) is None
    sealed = json.loads((volume / "result.json").read_text())
    provenance = payload(signature)["predicate"]["provenance"]["predicate"]
    assert provenance["buildDefinition"]["externalParameters"] == {
        "kind": "quantize", "inputs": work["inputs"], "recipe": {"scheme": "int8"},
    }  # fmt: skip
    assert provenance["buildDefinition"]["resolvedDependencies"] == [
        {"name": "base", "digest": {"sha256": work["inputs"]["digest"]}}
    ]
    assert provenance["runDetails"]["builder"]["version"] == {"image": "registry/runtime:1"}
    assert provenance["runDetails"]["metadata"]["invocationId"] == sealed["identity"] == digest(work)
    manifest, figures = provenance["runDetails"]["byproducts"]
    assert manifest["digest"]["sha256"] == sealed["artifact"]["digest"]
    assert figures["annotations"]["scheme"] == "int8"
    alone = bundle.unwrap((signature.parent / "provenance.sigstore.json").read_bytes(), keys.public_key(pair.pem))
    assert (alone["predicateType"], alone["predicate"]) == ("https://slsa.dev/provenance/v1", provenance)
    assert sign(volume, work, pair.private)[0].cached


def test_the_provenance_of_an_export_names_its_format(tmp_path: Path, pair: KeyPair) -> None:
    base = scratch.run(build_job(tmp_path, "Llama"), Reports()).artifact
    assert base is not None
    recipe = {"format": "gguf", "type": "q8_0"}
    work = {"kind": "export", "inputs": {"digest": base.digest}, "recipe": recipe, "algorithm": 1}
    export = ExportJob(
        identity=digest(work), owner="DeepSeekModel/team/own", input=str(tmp_path / "volume" / "artifact"),
        output=str(tmp_path / "edge"), input_digest=base.digest, type="q8_0",
    )  # fmt: skip
    made = gguf.run(export, Reports()).export
    assert made is not None
    result, code = sign(tmp_path / "edge", work, pair.private)
    assert code == ExitCode.DONE, result
    signature = tmp_path / "edge" / "evaluations" / ("8" * 64) / "model.sig"
    assert verify(tmp_path / "edge" / "artifact", pair, signature) is None
    provenance = payload(signature)["predicate"]["provenance"]["predicate"]
    asked = provenance["buildDefinition"]["externalParameters"]
    assert (asked["kind"], asked["recipe"]) == ("export", recipe)
    _, figures = provenance["runDetails"]["byproducts"]
    assert figures["annotations"] == made.model_dump(by_alias=True, exclude_none=True)
    file = tmp_path / "edge" / "artifact" / made.file
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    said = verify(tmp_path / "edge" / "artifact", pair, signature)
    assert said is not None
    assert made.file in said


def test_a_changed_file_or_provenance_is_found_by_the_official_tool(
    variant: tuple[Path, dict[str, Any]], pair: KeyPair, tmp_path: Path
) -> None:
    volume, work = variant
    sign(volume, work, pair.private)
    signature = volume / "evaluations" / ("8" * 64) / "model.sig"
    whole = json.loads(signature.read_text())
    statement = payload(signature)
    statement["predicate"]["provenance"]["predicate"]["buildDefinition"]["externalParameters"]["recipe"] = {}
    whole["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    (tmp_path / "forged.sig").write_text(json.dumps(whole))
    assert verify(volume / "artifact", pair, tmp_path / "forged.sig") is not None
    (volume / "artifact" / "config.json").write_text("{}")
    said = verify(volume / "artifact", pair, signature)
    assert said is not None
    assert "config.json" in said


def test_a_recipe_that_the_seal_does_not_prove_is_not_signed(
    variant: tuple[Path, dict[str, Any]], pair: KeyPair
) -> None:
    volume, work = variant
    result, code = sign(volume, {**work, "recipe": {"scheme": "int8", "ignore": ["x"]}}, pair.private)
    assert (code, result.reason) == (ExitCode.DATA, "SealedByOther")
    weights = volume / "artifact" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    result, code = sign(volume, work, pair.private)
    assert (code, result.reason) == (ExitCode.DATA, "DigestMismatch")
    assert not list((volume / "evaluations").glob("*/model.sig"))


@pytest.mark.parametrize("content", [None, "", "SECRET", "-----BEGIN EC PRIVATE KEY-----\nU0VDUkVU\n-----END"])
def test_a_key_that_is_none_is_told_and_never_quoted(
    variant: tuple[Path, dict[str, Any]], tmp_path: Path, content: str | None
) -> None:
    volume, work = variant
    if content is not None:
        (tmp_path / "key").write_text(content)
    result, code = sign(volume, work, tmp_path / "key")
    assert (code, result.reason) == (ExitCode.CONFIGURATION, "InvalidKey" if content is not None else "SecretMissing")
    assert not re.search("SECRET|U0VD", result.to_json())
