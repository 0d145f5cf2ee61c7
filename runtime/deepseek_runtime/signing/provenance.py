"""Where an artifact comes from, in the words of SLSA Provenance v1 (https://slsa.dev/spec/v1.1/provenance)."""

from collections.abc import Mapping
from typing import Any

from deepseek_runtime.signing.bundle import STATEMENT_TYPE
from deepseek_runtime.wire.manifest import Manifest
from deepseek_runtime.wire.result import JobResult

PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://deepseek-operator.io/work/v1"
"""`externalParameters` are the kind, inputs and recipe of a work, whose canonical digest is the `invocationId`."""

BUILDER = "https://deepseek-operator.io/runtime"


def provenance(work: Mapping[str, Any], made: JobResult, manifest: Manifest) -> dict[str, Any]:
    """The predicate: base, recipe, image, what was found out on the way, and the digest of the result.

    `work` is proven by the seal: its digest is the identity of the sealed result.
    """
    inputs = dict(work["inputs"])
    base = [{"name": "base", "digest": {"sha256": inputs["digest"]}}] if "digest" in inputs else []
    found = made.quantization or made.export
    facts = found.model_dump(by_alias=True, exclude_none=True) if found is not None else {}
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"kind": work["kind"], "inputs": inputs, "recipe": work["recipe"]},
            "internalParameters": {"algorithm": work["algorithm"]},
            "resolvedDependencies": base,
        },
        "runDetails": {
            "builder": {"id": BUILDER, "version": {"image": made.image} if made.image else {}},
            "metadata": {
                "invocationId": made.identity,
                "startedOn": made.started_at,
                "finishedOn": made.finished_at,
            },
            "byproducts": [
                {"name": "manifest", "digest": {"sha256": manifest.digest}},
                *([{"name": "figures", "annotations": facts}] if facts else []),
            ],
        },
    }


def provenance_statement(files: Mapping[str, str], predicate: Mapping[str, Any]) -> dict[str, Any]:
    """The provenance alone, of every file by its SHA-256, as other tools of the supply chain read it."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": path, "digest": {"sha256": digest}} for path, digest in sorted(files.items())],
        "predicateType": PREDICATE_TYPE,
        "predicate": dict(predicate),
    }
