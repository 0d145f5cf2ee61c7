"""The copies of a model on nodes: which artifacts are kept, by which DaemonSets, and how many copies are ready.

They are counted apart from Ready. A copy makes serving start sooner, and nothing waits for one.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from deepseek_runtime.wire.node_cache import CacheConfig

from deepseek_operator.api.base import LastFailure
from deepseek_operator.api.deepseekmodel.artifact import ArtifactStatus
from deepseek_operator.api.deepseekmodel.cache import CachedArtifact, CacheSpec, CacheStatus
from deepseek_operator.api.deepseekmodel.spec import DeepSeekModelSpec
from deepseek_operator.api.deepseekmodel.status import DeepSeekModelStatus
from deepseek_operator.api.names import Condition, Label, Reason
from deepseek_operator.controllers.attempts import remove
from deepseek_operator.controllers.conditions import Verdict, holds, pending, stalled, stamp
from deepseek_operator.controllers.decision import Child, Object, Observed, Remove, Settings
from deepseek_operator.controllers.failures import creation_failure, pods_failure
from deepseek_operator.controllers.origin import BASE
from deepseek_operator.controllers.remedies import with_remedy
from deepseek_operator.controllers.resource import deleting
from deepseek_operator.desired.daemonset import daemonset, daemonset_name
from deepseek_operator.desired.labels import Manifest, Owner, digest_label
from deepseek_operator.desired.pod import Image
from deepseek_operator.desired.quantity import amount

_READ_BY_MANY = "ReadWriteMany"


@dataclass(frozen=True, slots=True)
class Caching:
    """What should be, and what to tell of it; `verdict` is None where no cache is asked for."""

    children: tuple[Child, ...] = ()
    remove: tuple[Remove, ...] = ()
    status: CacheStatus | None = None
    verdict: Verdict | None = None
    failure: LastFailure | None = None

    def told(
        self, status: DeepSeekModelStatus, previous: DeepSeekModelStatus, generation: int, now: datetime
    ) -> DeepSeekModelStatus:
        """The model's status with that of its copies. Ready stays as it is; Stalled shows what can never be copied."""
        if self.verdict is None:
            return status
        more = [self.verdict]
        busy = {condition.type for condition in status.conditions} & {Condition.STALLED, Condition.RECONCILING}
        if self.verdict.stalled and not busy:
            more.append(self.verdict.as_type(Condition.STALLED, "True"))
        conditions = [*status.conditions, *stamp(more, previous.conditions, generation, now)]
        return status.model_copy(
            update={
                "cache": self.status,
                "conditions": conditions,
                "last_failure": status.last_failure or self.failure,
            }
        )


def cache(
    owner: Owner,
    spec: DeepSeekModelSpec,
    status: DeepSeekModelStatus,
    observed: Observed,
    settings: Settings,
    *,
    proven: bool,
) -> Caching:
    """The copies of what a status says is sealed. Unless it is `proven`, nothing is copied anew."""
    if spec.cache is None:
        return Caching(remove=_removals(frozenset(), {}, observed))
    names = _names(spec)
    sealed = {
        each.name: each for each in status.artifacts if each.name in names and each.phase == "Ready" and each.digest
    }
    kept, unshared = [], []
    for artifact in sealed.values():
        claim = observed.child("PersistentVolumeClaim", artifact.claim)
        known = _seen(owner, artifact, observed) is not None
        if claim is not None and deleting(claim):  # the pods would keep it from going
            continue
        if claim is not None and _READ_BY_MANY not in ((claim.get("spec") or {}).get("accessModes") or ()):
            unshared.append(artifact.claim)
        elif known or (proven and claim is not None):
            kept.append(artifact)
    counted = {each.name: _counted(each, _seen(owner, each, observed)) for each in kept}
    failure = _failure(owner, kept, observed)
    return Caching(
        children=tuple(Child(_manifest(owner, each, spec.cache, settings)) for each in kept),
        remove=_removals(names, sealed, observed),
        status=_status(spec.cache, counted.values()),
        verdict=_verdict(
            names, counted, unshared, failure, known=all(_current(owner, each, observed) for each in kept)
        ),
        failure=failure,
    )


def _names(spec: DeepSeekModelSpec) -> frozenset[str]:
    """The artifacts that are to be cached: those that are named, of those that can be served."""
    served = {BASE, *(variant.name for variant in spec.variants if variant.export is None)}
    return frozenset(served & set(spec.cache.artifacts) if spec.cache and spec.cache.artifacts else served)


def _seen(owner: Owner, artifact: ArtifactStatus, observed: Observed) -> Object | None:
    return observed.child("DaemonSet", daemonset_name(owner.name, artifact.name, artifact.digest or ""))


def _current(owner: Owner, artifact: ArtifactStatus, observed: Observed) -> bool:
    """Whether the controller of DaemonSets has looked at this one as it is now."""
    seen = _seen(owner, artifact, observed)
    status = (seen.get("status") or {}) if seen is not None else {}
    return seen is not None and status.get("observedGeneration", 0) >= seen["metadata"].get("generation", 1)


def _manifest(owner: Owner, artifact: ArtifactStatus, spec: CacheSpec, settings: Settings) -> Manifest:
    config = CacheConfig(
        keeper=f"{owner.path} {artifact.name}",
        digest=artifact.digest or "",
        capacity=int(amount(spec.capacity)),
        credential=owner.public_key(settings.master_key),
    )
    image = Image(settings.runtime_image, settings.image_pull_policy)
    return daemonset(owner, artifact.name, artifact.claim, spec, config, image)


def _counted(artifact: ArtifactStatus, seen: Object | None) -> CachedArtifact:
    status = (seen.get("status") or {}) if seen is not None else {}
    return CachedArtifact(
        name=artifact.name,
        digest=artifact.digest or "",
        bytes=artifact.bytes,
        wanted=status.get("desiredNumberScheduled", 0),
        ready=status.get("numberReady", 0),
    )


def _status(spec: CacheSpec, counted: Collection[CachedArtifact]) -> CacheStatus:
    return CacheStatus(
        claim=spec.claim_name,
        copies=f"{sum(each.ready for each in counted)}/{sum(each.wanted for each in counted)}",
        bytes=sum(each.bytes or 0 for each in counted),
        artifacts=list(counted),
    )


def _verdict(
    names: frozenset[str],
    counted: Mapping[str, CachedArtifact],
    unshared: Sequence[str],
    failure: LastFailure | None,
    *,
    known: bool,
) -> Verdict:
    """`known`: what is counted is of the DaemonSets as they are now."""
    if unshared:
        message = (
            f"{', '.join(unshared)} can be mounted on one node alone, and copies are made on several. Make the model "
            "anew with storage.accessModes [ReadWriteMany], or remove spec.cache."
        )
        return stalled(Condition.CACHED, Reason.NEEDS_SHARED_VOLUME, message)
    if failure is not None:
        return pending(Condition.CACHED, failure.reason, failure.message)
    if waiting := sorted(names - counted.keys()):
        return pending(Condition.CACHED, Reason.PENDING, f"{', '.join(waiting)}: not sealed yet, or not proven.")
    told = "; ".join(f"{each.name}: {each.ready} of {each.wanted} nodes have a copy" for each in counted.values())
    if not known:
        return pending(Condition.CACHED, Reason.CACHING, "the pods that copy are being made.")
    if any(each.wanted == 0 for each in counted.values()):
        happened = "no node is one of this cache"
        return pending(Condition.CACHED, Reason.NO_CACHE_NODES, with_remedy(Reason.NO_CACHE_NODES, happened))
    if any(each.ready < each.wanted for each in counted.values()):
        return pending(Condition.CACHED, Reason.CACHING, f"{told}.")
    return holds(Condition.CACHED, Reason.COMPLETE, f"{told}.")


def _failure(owner: Owner, kept: Sequence[ArtifactStatus], observed: Observed) -> LastFailure | None:
    """The newest of what keeps pods from a copy."""
    failures = []
    for artifact in kept:
        seen = _seen(owner, artifact, observed)
        if seen is None:
            continue
        label = digest_label(artifact.digest or "")
        pods = [pod for pod in observed.pods if _labels(pod).get(Label.DIGEST) == label]
        found = pods_failure(pods, observed) or creation_failure(seen, observed)
        if found is not None and found.reason == Reason.NEEDS_SHARED_VOLUME:
            found = replace(found, reason=Reason.NOT_A_CACHE_NODE)
        if found is not None:
            failures.append(found.of(f"DaemonSet/{seen['metadata']['name']}"))
    return max(failures, key=lambda failure: (failure.time, failure.component), default=None)


def _removals(names: frozenset[str], sealed: Mapping[str, ArtifactStatus], observed: Observed) -> tuple[Remove, ...]:
    """What is kept of an artifact stays until another one is sealed in its place."""
    removals: list[Remove] = []
    for obj in observed.of_kind("DaemonSet"):
        labels = _labels(obj)
        subject = labels.get(Label.SUBJECT, "")
        newest = sealed.get(subject)
        claims = [observed.child("PersistentVolumeClaim", name) for name in _claims(obj)]
        if subject not in names:
            removals += remove(obj, f"{subject} is no longer cached")
        elif newest is not None and digest_label(newest.digest or "") != labels.get(Label.DIGEST):
            removals += remove(obj, f"another {subject} is sealed")
        elif any(claim is not None and deleting(claim) for claim in claims):
            removals += remove(obj, "the volume that it copies is being deleted")
    return tuple(removals)


def _claims(obj: Object) -> list[str]:
    volumes = obj["spec"]["template"]["spec"].get("volumes") or ()
    return [each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each]


def _labels(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}
