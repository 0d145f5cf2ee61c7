"""What a model needs no more: volumes and Jobs of what it was before. Removed by name, and only when unused."""

from collections.abc import Mapping, Sequence

from deepseek_operator.api.deepseekmodel.artifact import ArtifactStatus
from deepseek_operator.api.names import Label
from deepseek_operator.controllers.attempts import Work, ended, remove
from deepseek_operator.controllers.decision import Object, Observed, Remove
from deepseek_operator.controllers.in_use import claims_of, settled
from deepseek_operator.desired.labels import identity_label

_ACQUIRE = frozenset({"build", "fetch", "import", "publish"})
_ASKED_FOR = frozenset({"evaluate", "compare", "longcontext", "task", "benchmark", "sign"})
"""Works on a part that the spec may have or not."""


def superseded(
    model: str,
    works: Sequence[Work],
    current: Mapping[str, ArtifactStatus],
    declared: Mapping[str, frozenset[str]],
    observed: Observed,
) -> tuple[Remove, ...]:
    """`works`: what is wanted now; `current`: the parts that are sealed.

    `declared`: the parts that the spec has, each with the kinds of work that it asks for of it.
    """
    wanted = {(work.kind, work.subject, identity_label(work.identity)) for work in works}
    parts = {work.subject for work in works}
    removals: list[Remove] = []
    outdated = [job for job in observed.of_kind("Job") if _outdated(job, wanted, parts, declared)]
    for job in outdated:
        if not ended(job):
            removals += remove(job, "it works on what is no longer wanted")
    if not settled(model, current, observed):
        return tuple(removals)
    held = claims_of(observed.pods)
    for claim in observed.of_kind("PersistentVolumeClaim"):
        subject, name = _subject(claim), claim["metadata"]["name"]
        kept = current.get(subject)
        replaced = kept is not None and kept.claim != name
        if name not in held and (replaced or subject not in declared):
            removals += remove(claim, "a newer volume is sealed" if replaced else f"{subject} is no longer declared")
    for job in outdated:
        if ended(job) and (_subject(job) in current or _subject(job) not in declared):
            removals += remove(job, "its result is no longer wanted")
    return tuple(removals)


def _outdated(
    job: Object, wanted: set[tuple[str, str, str]], parts: set[str], declared: Mapping[str, frozenset[str]]
) -> bool:
    labels = job["metadata"].get("labels") or {}
    key = (labels.get(Label.WORK, ""), labels.get(Label.SUBJECT, ""), labels.get(Label.IDENTITY, ""))
    same_kind = {(_kind(work), subject) for work, subject, _ in wanted}
    if key[1] not in declared or (key[0] in _ASKED_FOR and key[0] not in declared[key[1]]):
        return True
    # A kind of work that is not reached yet has no identity to compare with.
    return key[1] in parts and key not in wanted and (_kind(key[0]), key[1]) in same_kind


def _kind(work: str) -> str:
    """A base that is made in another way is not wanted in the one of before."""
    return "acquire" if work in _ACQUIRE else work


def _subject(obj: Object) -> str:
    return str((obj["metadata"].get("labels") or {}).get(Label.SUBJECT, ""))
