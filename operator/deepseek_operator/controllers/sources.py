"""From what a model's spec names as its source to what makes the base, or to what it still waits for."""

from deepseek_operator.api.deepseekmodel.artifact import Lineage
from deepseek_operator.api.deepseekmodel.spec import DeepSeekModelSpec
from deepseek_operator.api.deepseekmodel.status import DeepSeekModelStatus
from deepseek_operator.api.names import Condition, Reason
from deepseek_operator.controllers import source_claim, source_http, source_training_run
from deepseek_operator.controllers.conditions import Verdict, stalled
from deepseek_operator.controllers.decision import Observed
from deepseek_operator.controllers.identity import build_identity, fetch_identity, object_store_identity, oci_identity
from deepseek_operator.controllers.origin import Origin
from deepseek_operator.controllers.sizing import scratch_problem


def origin(
    namespace: str, spec: DeepSeekModelSpec, previous: DeepSeekModelStatus, observed: Observed
) -> Origin | Verdict:
    """What makes the base, or the condition that says what is missing."""
    if (scratch := spec.source.scratch) is not None:
        if (problem := scratch_problem(scratch, spec.storage.size)) is not None:
            return stalled(Condition.ACQUIRED, *problem)
        return Origin("build", build_identity(scratch), Lineage(source=f"scratch/{scratch.architecture}"))
    if (hub := spec.source.hugging_face) is not None:
        return Origin("fetch", fetch_identity(hub), Lineage(source=f"huggingFace/{hub.repo}"))
    if (store := spec.source.object_store) is not None:
        return Origin("fetch", object_store_identity(store), Lineage(source=f"objectStore/{store.url.rstrip('/')}"))
    if (http := spec.source.http) is not None:
        return source_http.origin(http)
    if (oci := spec.source.oci) is not None:
        return Origin("fetch", oci_identity(oci), Lineage(source=f"oci/{oci.reference}"))
    if (claim := spec.source.existing_claim) is not None:
        return source_claim.origin(claim, observed)
    if (run := spec.source.training_run) is not None:
        return source_training_run.origin(namespace, run, spec.storage.size, previous, observed)
    return stalled(
        Condition.ACQUIRED,
        Reason.INVALID_CONFIG,
        "source must have one of existingClaim, http, huggingFace, objectStore, oci, scratch and trainingRun.",
    )
