"""PersistentVolumeClaims: one for each sealed artifact, one for each run."""

from deepseek_runtime.wire.base import digest

from deepseek_operator.api.base import Storage
from deepseek_operator.api.deepseekmodel.artifact import Lineage
from deepseek_operator.api.names import Annotation, Label
from deepseek_operator.desired.labels import Manifest, Owner, identity_label


def artifact_claim(
    owner: Owner, subject: str, identity: str, storage: Storage, lineage: Lineage | None = None
) -> Manifest:
    """The volume of the base, with its lineage, or of a variant."""
    labels = owner.labels("artifact", **{Label.SUBJECT: subject, Label.IDENTITY: identity_label(identity)})
    claim = _claim(owner, artifact_claim_name(owner.name, subject, identity), labels, storage)
    if lineage is not None:
        claim["metadata"]["annotations"][Annotation.LINEAGE] = lineage.model_dump_json(exclude_none=True)
    return claim


def artifact_claim_name(model: str, subject: str, identity: str) -> str:
    """`<model>-<base|variant>-<hash8>`: another identity is another volume."""
    return f"{model}-{subject}-{identity[:8]}"


def run_claim(owner: Owner, storage: Storage) -> Manifest:
    """A run's own volume: checkpoints and exports."""
    return _claim(owner, run_claim_name(owner.name), owner.labels("run"), storage)


def run_claim_name(run: str) -> str:
    """The name of a run's own volume."""
    return f"{run}-run"


def _claim(owner: Owner, name: str, labels: dict[str, str], storage: Storage) -> Manifest:
    spec: Manifest = {
        "accessModes": list(storage.access_modes),
        "resources": {"requests": {"storage": storage.size}},
        "volumeMode": "Filesystem",
    }
    if storage.storage_class_name is not None:
        spec["storageClassName"] = storage.storage_class_name
    metadata = owner.metadata(name, labels)
    lasting = {key: value for key, value in spec.items() if key != "resources"}
    metadata["annotations"] = {Annotation.VOLUME_HASH: digest(lasting)[:32]}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
