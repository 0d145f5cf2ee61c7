"""What a model's signature says: the SHA-256 of every file, as an in-toto statement.

OpenSSF Model Signing v1.0, https://github.com/sigstore/model-transparency: the predicate lists the files; the digest of
the subject is SHA-256 over their digests in that order; fields that a reader does not know are ignored.
"""

import hashlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, TypeGuard

from deepseek_runtime.signing.bundle import STATEMENT_TYPE, BadBundleError

PREDICATE_TYPE = "https://model_signing/signature/v1.0"
_DIGITS = frozenset("0123456789abcdef")


def signed_files(statement: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of each file by its path, as the statement has it; errors: BadBundleError."""
    if statement.get("predicateType") != PREDICATE_TYPE:
        raise BadBundleError(f"is no model signature of version 1.0, but {str(statement.get('predicateType'))[:100]!r}")
    predicate = statement.get("predicate")
    resources = predicate.get("resources") if isinstance(predicate, dict) else None
    how = predicate.get("serialization") if isinstance(predicate, dict) else None
    if not isinstance(resources, list) or not isinstance(how, dict):
        raise BadBundleError("signs no list of files")
    if (how.get("method"), how.get("hash_type")) != ("files", "sha256"):
        raise BadBundleError("signs shards or other hashes than SHA-256 of whole files; sign it by files with SHA-256")
    found: dict[str, str] = {}
    for resource in resources:
        entry: dict[str, Any] = resource if isinstance(resource, dict) else {}
        name, digest = entry.get("name"), entry.get("digest")
        if entry.get("algorithm") != "sha256" or not isinstance(name, str) or not _is_digest(digest) or name in found:
            raise BadBundleError("signs a file twice, or without name or SHA-256")
        found[name] = digest
    if _root(found) != _subject(statement):
        raise BadBundleError("contradicts itself: its files do not have the digest of its subject")
    return found


def signed_name(statement: Mapping[str, Any]) -> str:
    """What the signer called the model."""
    name = statement["subject"][0].get("name")
    return name[:253] if isinstance(name, str) else ""


def model_statement(name: str, files: Mapping[str, str], **more: Any) -> dict[str, Any]:
    """A statement about files, their SHA-256 by path; `more` goes into the predicate beside them."""
    ordered = {path: files[path] for path in sorted(files, key=PurePosixPath)}
    resources = [{"name": path, "algorithm": "sha256", "digest": digest} for path, digest in ordered.items()]
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": _root(ordered)}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": resources,
            **more,
        },
    }


def _root(files: Mapping[str, str]) -> str:
    return hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in files.values())).hexdigest()


def _subject(statement: Mapping[str, Any]) -> Any:
    subjects = statement.get("subject")
    if not isinstance(subjects, list) or len(subjects) != 1 or not isinstance(subjects[0], dict):
        raise BadBundleError("signs something else than one model")
    digest = subjects[0].get("digest")
    return digest.get("sha256") if isinstance(digest, dict) else None


def _is_digest(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) == 64 and _DIGITS.issuperset(value)
