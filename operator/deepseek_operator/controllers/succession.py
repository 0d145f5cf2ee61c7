"""A base that replaces another: made beside it, and swapped in with its variants when all that is asked is proven.

Until then the status shows what is served, sealed and proven as it was, and under `next` what is being made of the new
source. A status that is lost in between loses the way back: what is made then simply comes first.
"""

from datetime import datetime

from deepseek_operator.api.deepseekmodel.gate import GateStatus
from deepseek_operator.api.deepseekmodel.spec import DeepSeekModelSpec
from deepseek_operator.api.deepseekmodel.status import DeepSeekModelStatus, NextStatus
from deepseek_operator.api.names import Condition, Reason
from deepseek_operator.controllers import gate, verification
from deepseek_operator.controllers.conditions import holds, stamp
from deepseek_operator.controllers.decision import Observed
from deepseek_operator.controllers.origin import BASE

_SET = ("digest", "revision", "size", "architecture", "artifacts", "lineage", "verification")
"""The fields that speak of one base and what is made of it."""


def basis(previous: DeepSeekModelStatus, identity: str | None) -> DeepSeekModelStatus:
    """The status as that of the base of this identity, which is served already or being made."""
    if previous.next is None or identity is None or _identity(previous) == identity:
        return previous
    return previous.model_copy(update={name: getattr(previous.next, name) for name in _SET})


def overtakes(
    previous: DeepSeekModelStatus, made: DeepSeekModelStatus, observed: Observed, *, awaited: bool = False
) -> bool:
    """Whether `made` is of a base that has yet to prove itself beside the one that is there.

    `awaited`: its source is not there yet, so that not even the work that makes it is known.
    """
    current = next((each for each in previous.artifacts if each.name == BASE), None)
    if current is None or current.phase != "Ready" or current.digest is None or previous.architecture is None:
        return False
    wanted = _identity(made)
    if not awaited and (wanted is None or wanted == current.identity or _proven(made)):
        return False
    return observed.child("PersistentVolumeClaim", current.claim) is not None


def beside(
    spec: DeepSeekModelSpec, previous: DeepSeekModelStatus, made: DeepSeekModelStatus, generation: int, now: datetime
) -> DeepSeekModelStatus:
    """What is there goes on; `made` is told as what comes next, and its conditions as what goes on.

    Ready is only what may be used as the spec is now: it has proven what is asked, and its gates hold nothing back.
    """
    declared = {BASE, *(variant.name for variant in spec.variants)}
    kept = gate.judged(spec, [artifact for artifact in previous.artifacts if artifact.name in declared])
    known = _identity(made) != _identity(previous)
    update = {name: getattr(previous, name) for name in _SET} | {
        "artifacts": kept,
        "next": NextStatus(**{name: getattr(made, name) for name in _SET}) if known else None,
    }
    usable = verification.may_be_used(spec, previous)
    if usable and all(artifact.phase == "Ready" and not _held_back(artifact.gate) for artifact in kept):
        waiting = next(condition for condition in made.conditions if condition.type == Condition.READY)
        goes_on = f"digest {(previous.digest or '')[:12]} of before stays; what replaces it: {waiting.message}"
        ready = stamp([holds(Condition.READY, Reason.ROLLING_OUT, goes_on)], previous.conditions, generation, now)
        others = [condition for condition in made.conditions if condition.type != Condition.READY]
        update |= {"conditions": [*ready, *others], "phase": "Updating"}
    return made.model_copy(update=update)


def _identity(status: DeepSeekModelStatus) -> str | None:
    return next((artifact.identity for artifact in status.artifacts if artifact.name == BASE), None)


def _proven(made: DeepSeekModelStatus) -> bool:
    return any(each.type == Condition.READY and each.status == "True" for each in made.conditions)


def _held_back(judged: GateStatus | None) -> bool:
    return judged is not None and judged.phase in ("Pending", "Blocked")
