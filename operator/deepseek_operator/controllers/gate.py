"""Whether a variant may be served: its perplexity beside that of the base, on the same text.

A comparison of what the status says, made anew by all who ask: whoever reads a gate that was changed a moment ago and a
status that was written before goes by the gate.
"""

from collections.abc import Sequence

from deepseek_operator.api.deepseekmodel import ArtifactStatus, DeepSeekModelSpec, GateStatus
from deepseek_operator.api.names import Condition, Reason
from deepseek_operator.controllers.conditions import Verdict, holds, pending, stalled
from deepseek_operator.controllers.identity import evaluate_identity
from deepseek_operator.controllers.origin import BASE
from deepseek_operator.controllers.remedies import with_remedy

_DECIMALS = 4
"""As the status shows figures: what is decided can be checked by what is shown."""


def judge(spec: DeepSeekModelSpec, artifacts: Sequence[ArtifactStatus], name: str) -> GateStatus | None:
    """A variant's gate, Pending until variant and base are measured on the declared text; None where it has none."""
    gate = next((variant.gate for variant in spec.variants if variant.name == name), None)
    if gate is None:
        return None
    limit = gate.max_perplexity_increase
    base, made = (_perplexity(spec, artifacts, part) for part in (BASE, name))
    if base is None or made is None:
        return GateStatus(phase="Pending", limit=limit)
    increase = round(made / base - 1, _DECIMALS)
    return GateStatus(phase="Passed" if increase <= limit else "Blocked", perplexity_increase=increase, limit=limit)


def judged(spec: DeepSeekModelSpec, artifacts: Sequence[ArtifactStatus]) -> list[ArtifactStatus]:
    """The artifacts, each with what its gate says."""
    return [each.model_copy(update={"gate": judge(spec, artifacts, each.name)}) for each in artifacts]


def verdict(spec: DeepSeekModelSpec, artifacts: Sequence[ArtifactStatus]) -> Verdict | None:
    """The condition of all gates together; None for a model without one."""
    gates = {v.name: gate for v in spec.variants if (gate := judge(spec, artifacts, v.name)) is not None}
    if not gates:
        return None
    if spec.evaluation is None:
        happened = f"variants {', '.join(gates)}: a gate compares perplexities, and the model has no evaluation"
        return stalled(Condition.GATES_PASSED, Reason.INVALID_CONFIG, f"{happened}. Add evaluation, or drop the gate.")
    if blocked := [explain(name, gate) for name, gate in gates.items() if gate.phase == "Blocked"]:
        return stalled(
            Condition.GATES_PASSED, Reason.GATE_BLOCKED, with_remedy(Reason.GATE_BLOCKED, "; ".join(blocked))
        )
    if waiting := [name for name, gate in gates.items() if gate.phase == "Pending"]:
        return pending(Condition.GATES_PASSED, Reason.EVALUATING, f"{', '.join(waiting)}: not measured yet.")
    passed = ", ".join(f"{name} {gate.perplexity_increase:+.2%}" for name, gate in gates.items())
    return holds(Condition.GATES_PASSED, Reason.COMPLETE, f"perplexity against the base: {passed}.")


def explain(name: str, gate: GateStatus) -> str:
    """By how much a variant has missed its gate."""
    increase = gate.perplexity_increase or 0.0
    return (
        f"variant {name} is blocked: its perplexity is {increase:.2%} above that of the base, "
        f"{increase - gate.limit:.2%} more than the {gate.limit:.2%} of gate.maxPerplexityIncrease"
    )


def _perplexity(spec: DeepSeekModelSpec, artifacts: Sequence[ArtifactStatus], name: str) -> float | None:
    """As measured on the text that is declared now."""
    artifact = next((each for each in artifacts if each.name == name), None)
    if artifact is None or artifact.phase != "Ready" or artifact.digest is None or artifact.scores is None:
        return None
    if spec.evaluation is None or artifact.evaluation_identity != evaluate_identity(artifact.digest, spec.evaluation):
        return None
    perplexity = round(artifact.scores.perplexity, _DECIMALS)
    return perplexity if perplexity > 0 else None
