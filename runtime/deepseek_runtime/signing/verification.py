"""Whether a model is the one that was meant: its digest, its files' digests, its signature. Fails closed."""

from pathlib import Path

from deepseek_runtime.fetch.selection import wanted
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.job.place import place
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.signing import bundle, keys, statement
from deepseek_runtime.signing.bundle import BadBundleError
from deepseek_runtime.weights import manifest, seal
from deepseek_runtime.wire.job import VerifyJob
from deepseek_runtime.wire.manifest import Manifest
from deepseek_runtime.wire.paths import MANIFEST_FILE
from deepseek_runtime.wire.result import JobResult
from deepseek_runtime.wire.verification import SignatureCheck, Verification, Verified

FAILED = "VerificationFailed"
BAD_SIGNATURE = "SignatureInvalid"


def run(job: VerifyJob, reporter: Reporter) -> JobResult:
    """Verify a sealed model whose files have been hashed against its manifest, and seal what was proven."""
    directory = Path(job.input)
    reporter.update("verifying", unit="models", done=0, total=1)
    verified = check(directory, manifest.read(directory), job.verification)
    result = JobResult(kind=job.kind, identity=job.identity, outcome="succeeded", verification=verified)
    return seal.seal(place(job), job.identity, result)


def check(directory: Path, listed: Manifest, asked: Verification) -> Verified:
    """What the files of a directory, hashed as its manifest lists them, prove of what is asked.

    Errors: DataError `VerificationFailed` or `SignatureInvalid` naming the file, what was expected and what was found;
    ConfigurationError `InvalidKey`.
    """
    if asked.digest is not None and asked.digest != listed.digest:
        raise DataError(
            FAILED,
            f"The digest of the model's manifest is {listed.digest}, expected {asked.digest}. Name the source whose "
            "digest that is, or correct verification.digest.",
        )
    found = {file.path: file.sha256 for file in listed.files}
    for file in asked.files:
        if file.path not in found:
            raise DataError(
                FAILED,
                f"{file.path} is not among the model's files, expected with SHA-256 {file.sha256}. Name a source that "
                "has it, or correct verification.files.",
            )
        if found[file.path] != file.sha256:
            raise DataError(
                FAILED,
                f"{file.path}: SHA-256 is {found[file.path]}, expected {file.sha256}. Name the source that has this "
                "file, or correct verification.files.",
            )
    proven = Verified(asked=asked.identity, digest=listed.digest, files=len(asked.files))
    if asked.signature is None:
        return proven
    signer, name = _check_signature(directory, found, asked.signature)
    return proven.model_copy(update={"signer": signer, "signed_name": name})


def _check_signature(directory: Path, found: dict[str, str], asked: SignatureCheck) -> tuple[str, str]:
    """Fingerprint of the key that signed exactly these files, and what it calls the model."""
    key = keys.public_key(asked.public_key)
    if asked.file not in found:
        raise DataError(
            BAD_SIGNATURE,
            f"{asked.file} is not among the model's files, so nothing says who signed them. Name a source with a "
            "signature, or correct verification.signature.file; a base that was copied without its signature is made "
            "anew when its PersistentVolumeClaim is deleted.",
        )
    try:
        signed = bundle.unwrap(_read(directory / asked.file), key)
        files = statement.signed_files(signed)
    except BadBundleError as error:
        raise _bad(f"{asked.file} {error}") from error
    for path, sha256 in found.items():
        if path == asked.file:
            continue
        if path not in files:
            raise _bad(f"{path} is among the model's files and not signed by {asked.file}")
        if sha256 != files[path]:
            raise _bad(f"{path}: SHA-256 is {sha256}, expected {files[path]} by {asked.file}")
    for path in files:
        if path not in found and _needed(path, asked):
            raise _bad(f"{path} is signed by {asked.file} and not among the model's files")
    return keys.fingerprint(key), statement.signed_name(signed)


def _needed(path: str, asked: SignatureCheck) -> bool:
    """Of weights the index, signed itself, says which are needed; a signature never lists itself."""
    left = path.endswith(".safetensors") or path in (asked.file, MANIFEST_FILE)
    return not left and wanted(path, asked.include, asked.exclude)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        text = file.read(bundle.MAX_BYTES + 1)
    if len(text) > bundle.MAX_BYTES:
        raise BadBundleError(f"has more than {bundle.MAX_BYTES:,} bytes, which no signature needs")
    return text


def _bad(what: str) -> DataError:
    return DataError(
        BAD_SIGNATURE,
        f"{what}. Name an intact source, have it signed anew, or correct verification.signature.",
    )
