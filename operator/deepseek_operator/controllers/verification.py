"""Whether a base has proven what is asked of it. Fails closed: without the proof nothing begins to use it.

A comparison of what the status says with what is asked now, made anew by all who want to use the base, as with gates.
"""

from collections.abc import Sequence
from datetime import datetime

from deepseek_runtime.wire.verification import Verified

from deepseek_operator.api.deepseekmodel.artifact import ArtifactStatus
from deepseek_operator.api.deepseekmodel.spec import DeepSeekModelSpec
from deepseek_operator.api.deepseekmodel.status import DeepSeekModelStatus
from deepseek_operator.api.deepseekmodel.verification import VerificationStatus
from deepseek_operator.api.names import Condition, Reason
from deepseek_operator.controllers.artifacts import Advance
from deepseek_operator.controllers.attempts import stand
from deepseek_operator.controllers.conditions import Verdict, holds, pending, stalled
from deepseek_operator.controllers.decision import Observed
from deepseek_operator.controllers.identity import verify_identity
from deepseek_operator.controllers.model_works import ModelWorks, asked
from deepseek_operator.controllers.origin import BASE

FAILED = frozenset({Reason.VERIFICATION_FAILED, Reason.SIGNATURE_INVALID, Reason.INVALID_KEY, Reason.DIGEST_MISMATCH})


def verify(
    works: ModelWorks, base: Advance, previous: DeepSeekModelStatus, observed: Observed, now: datetime
) -> tuple[Advance | None, VerificationStatus | None]:
    """The verification of a sealed base and what it has proven; no work where nothing is asked.

    What the Job that sealed the base has proven counts, and what the status remembers; else a Job of its own finds out.
    """
    question = asked(works.spec)
    if question is None:
        return None, None
    work = works.verify(question, base.artifact)
    if previous.verification is not None and previous.verification.identity == work.identity:
        return Advance(work, base.artifact), previous.verification
    sealed = base.standing.result if base.standing is not None else None
    if sealed is not None and sealed.verification is not None and sealed.verification.asked == question.identity:
        return Advance(work, base.artifact), _proof(work.identity, sealed.verification)
    standing = stand(work, observed, now)
    children = (standing.child,) if standing.child is not None else ()
    proven = standing.result.verification if standing.result is not None else None
    proof = _proof(work.identity, proven) if proven is not None else None
    return Advance(work, base.artifact, children, standing, standing.failure), proof


def verdict(
    spec: DeepSeekModelSpec, base: Advance, proof: VerificationStatus | None, working: Verdict | None
) -> Verdict | None:
    """The condition `Verified`; None where nothing is asked. `working`: what the verification's Job is at."""
    if asked(spec) is None:
        return None
    if proof is not None:
        return holds(Condition.VERIFIED, Reason.COMPLETE, _said(spec, proof))
    if working is not None:
        return working
    failure = base.failure
    if failure is not None and failure.reason in FAILED and base.standing is not None:
        return stalled(Condition.VERIFIED, failure.reason, failure.message)
    return pending(Condition.VERIFIED, Reason.PENDING, "the base is not sealed yet.")


def may_be_used(spec: DeepSeekModelSpec, status: DeepSeekModelStatus) -> bool:
    """Whether the base that a status shows has proven what is asked now."""
    question, digest, proof = asked(spec), _digest(status.artifacts), status.verification
    if question is None:
        return True
    return proof is not None and digest is not None and proof.identity == verify_identity(digest, question)


def obstacle(condition: str, name: str, spec: DeepSeekModelSpec, status: DeepSeekModelStatus) -> Verdict | None:
    """Why the base of DeepSeekModel `name`, and what is made of it, may not be used; None where it may."""
    if may_be_used(spec, status):
        return None
    said = {found.type: found for found in status.conditions}
    found, stuck = said.get(Condition.VERIFIED), said.get(Condition.STALLED)
    if found is None or found.status != "False":
        return pending(condition, Reason.WAITING_FOR_MODEL, f"DeepSeekModel {name} is not verified yet.")
    if found.reason in FAILED or (stuck is not None and stuck.message == found.message):
        return stalled(condition, found.reason, f"DeepSeekModel {name} is not verified: {found.message}")
    message = f"DeepSeekModel {name} is not verified yet: {found.message}"
    return pending(condition, Reason.WAITING_FOR_MODEL, message)


def _digest(artifacts: Sequence[ArtifactStatus]) -> str | None:
    return next((each.digest for each in artifacts if each.name == BASE), None)


def _proof(identity: str, proven: Verified) -> VerificationStatus:
    return VerificationStatus(
        identity=identity,
        digest=proven.digest,
        files=proven.files,
        signer=proven.signer,
        signed_name=proven.signed_name,
    )


def _said(spec: DeepSeekModelSpec, proof: VerificationStatus) -> str:
    """What was proven of what is asked; the digest, which every proof has, where it names nothing else."""
    said = []
    if proof.files:
        said.append(f"{proof.files} {'file' if proof.files == 1 else 'files'}")
    if proof.signer is not None:
        named = f" as {proof.signed_name}" if proof.signed_name is not None else ""
        said.append(f"signed by key {proof.signer[:12]}{named}")
    if not said or (spec.verification is not None and spec.verification.digest is not None):
        said.insert(0, f"digest {proof.digest[:12]}")
    return f"{', '.join(said)}: as asked."
