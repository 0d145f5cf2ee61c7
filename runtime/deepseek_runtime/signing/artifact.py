"""The sign Job: a signature of a sealed artifact, with its provenance inside, that `model_signing` verifies.

It lies beside the artifact and not in it: the digest of what was made does not depend on who signs it. The provenance
is a field of the signed predicate, and readers that do not know it ignore it, as OpenSSF Model Signing has it: so one
signature proves both. Other tools find the same provenance signed alone.
"""

import hashlib
from pathlib import Path

from deepseek_runtime.job.errors import DataError
from deepseek_runtime.job.place import place
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.signing import bundle, keys
from deepseek_runtime.signing.provenance import PREDICATE_TYPE, provenance, provenance_statement
from deepseek_runtime.signing.statement import model_statement
from deepseek_runtime.weights import manifest, seal
from deepseek_runtime.wire.base import digest
from deepseek_runtime.wire.job import SignJob
from deepseek_runtime.wire.paths import MANIFEST_FILE, PROVENANCE_FILE, SIGNATURE_FILE
from deepseek_runtime.wire.result import JobResult
from deepseek_runtime.wire.verification import Signed


def run(job: SignJob, reporter: Reporter) -> JobResult:
    """Sign an artifact whose files have been hashed against its manifest, and seal the signature.

    Errors: DataError `SealBroken` or `SealedByOther` where the volume does not seal the work that is named;
    ConfigurationError `SecretMissing`, `InvalidKey`.
    """
    reporter.update("signing", unit="files", done=0, total=2)
    key = keys.private_key(Path(job.key_file))
    directory, output = Path(job.input), place(job)
    made = seal.sealed(directory.parent, digest(job.work))
    if made is None:
        raise DataError(
            "SealBroken", f"Nothing is sealed at {directory.parent}. Delete the claim to have it made again."
        )
    listed = manifest.read(directory)
    predicate = provenance(job.work, made, listed)
    files = {file.path: file.sha256 for file in listed.files}
    files[MANIFEST_FILE] = hashlib.sha256((directory / MANIFEST_FILE).read_bytes()).hexdigest()
    signed = model_statement(job.name, files, provenance={"predicateType": PREDICATE_TYPE, "predicate": predicate})
    output.mkdir(parents=True, exist_ok=True)
    (output / SIGNATURE_FILE).write_text(bundle.wrap(signed, key), "utf-8")
    (output / PROVENANCE_FILE).write_text(bundle.wrap(provenance_statement(files, predicate), key), "utf-8")
    result = JobResult(
        kind=job.kind,
        identity=job.identity,
        outcome="succeeded",
        signature=Signed(signer=keys.fingerprint(key.public_key()), files=len(files)),
    )
    return seal.seal(output, job.identity, result)
