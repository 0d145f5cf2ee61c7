"""Whether a variant may be served: its scores beside those of the base, on the same text and tasks.

A comparison of what the status says, made anew by all who ask: whoever reads a gate that was changed a moment ago and a
status that was written before goes by the gate.
"""

from collections.abc import Sequence

from deepseek_operator.api.deepseekmodel.artifact import ArtifactStatus
from deepseek_operator.api.deepseekmodel.evaluation import TaskSpec
from deepseek_operator.api.deepseekmodel.gate import GateSpec, GateStatus
from deepseek_operator.api.deepseekmodel.measurements import ScoresStatus, TaskStatus
from deepseek_operator.api.deepseekmodel.spec import DeepSeekModelSpec
from deepseek_operator.api.names import Condition, Reason
from deepseek_operator.controllers.conditions import Verdict, holds, pending, stalled
from deepseek_operator.controllers.identity import compare_identity, evaluate_identity, task_identity
from deepseek_operator.controllers.origin import BASE
from deepseek_operator.controllers.remedies import with_remedy

_DECIMALS = 4
"""As the status shows figures: what is decided can be checked by what is shown."""
_KL_DECIMALS = 6


def judge(spec: DeepSeekModelSpec, artifacts: Sequence[ArtifactStatus], name: str) -> GateStatus | None:
    """A variant's gate, Pending until all that it limits is measured as declared; None where it has none."""
    gate = next((variant.gate for variant in spec.variants if variant.name == name), None)
    if gate is None:
        return None
    limit = gate.max_perplexity_increase
    increase = _increase(spec, artifacts, name) if limit is not None else None
    compared = _comparison(spec, artifacts, name)
    tasks = _tasks(spec, artifacts, name)
    unknown = (
        (limit is not None and increase is None)
        or (compares(gate) and compared is None)
        or (_limits_tasks(gate) and not tasks)
    )
    if unknown or not _limited(gate):
        return GateStatus(phase="Pending", limit=limit)
    missed = [
        *_missed_increase(gate, increase),
        *(_missed_comparison(gate, compared) if compared is not None else ()),
        *(said for base, made in tasks for said in _missed_task(gate, base, made)),
    ]
    phase = GateStatus(phase="Passed", perplexity_increase=increase, limit=limit)
    if not missed:
        return phase
    return phase.model_copy(update={"phase": "Warned" if gate.action == "Warn" else "Blocked", "missed": missed})


def judged(spec: DeepSeekModelSpec, artifacts: Sequence[ArtifactStatus]) -> list[ArtifactStatus]:
    """The artifacts, each with what its gate says."""
    return [each.model_copy(update={"gate": judge(spec, artifacts, each.name)}) for each in artifacts]


def verdict(spec: DeepSeekModelSpec, artifacts: Sequence[ArtifactStatus]) -> Verdict | None:
    """The condition of all gates together; None for a model without one."""
    gates = {v.name: gate for v in spec.variants if (gate := judge(spec, artifacts, v.name)) is not None}
    if not gates:
        return None
    if spec.evaluation is None:
        happened = f"variants {', '.join(gates)}: a gate compares scores, and the model has no evaluation"
        return stalled(Condition.GATES_PASSED, Reason.INVALID_CONFIG, f"{happened}. Add evaluation, or drop the gate.")
    if empty := [v.name for v in spec.variants if v.gate is not None and not _limited(v.gate)]:
        happened = f"variants {', '.join(empty)}: the gate has no limit"
        return stalled(Condition.GATES_PASSED, Reason.INVALID_CONFIG, f"{happened}. Add one, or drop the gate.")
    if taskless := [v.name for v in spec.variants if not spec.evaluation.tasks and v.gate and _limits_tasks(v.gate)]:
        happened = f"variants {', '.join(taskless)}: gate.maxTaskScoreDecrease is of tasks, and evaluation has none"
        return stalled(Condition.GATES_PASSED, Reason.INVALID_CONFIG, f"{happened}. Add tasks, or drop the limit.")
    if blocked := [explain(name, gate) for name, gate in gates.items() if gate.phase == "Blocked"]:
        return stalled(
            Condition.GATES_PASSED, Reason.GATE_BLOCKED, with_remedy(Reason.GATE_BLOCKED, "; ".join(blocked))
        )
    if waiting := [name for name, gate in gates.items() if gate.phase == "Pending"]:
        return pending(Condition.GATES_PASSED, Reason.EVALUATING, f"{', '.join(waiting)}: not measured yet.")
    if warned := [explain(name, gate) for name, gate in gates.items() if gate.phase == "Warned"]:
        served = "It is served all the same: gate.action is Warn"
        return holds(Condition.GATES_PASSED, Reason.GATE_WARNED, f"{'; '.join(warned)}. {served}.")
    passed = ", ".join(_passed(name, gate) for name, gate in gates.items())
    return holds(Condition.GATES_PASSED, Reason.COMPLETE, f"{passed}.")


def explain(name: str, gate: GateStatus) -> str:
    """By how much a variant has missed its gate."""
    what = "is blocked" if gate.phase == "Blocked" else "misses its gate"
    return f"variant {name} {what}: {', and '.join(gate.missed or ())}"


def _passed(name: str, gate: GateStatus) -> str:
    measured = f" (perplexity {gate.perplexity_increase:+.2%})" if gate.perplexity_increase is not None else ""
    return f"{name} passes{measured}"


def _missed_increase(gate: GateSpec, increase: float | None) -> list[str]:
    limit = gate.max_perplexity_increase
    if limit is None or increase is None or increase <= limit:
        return []
    return [
        f"its perplexity is {increase:.2%} above that of the base, "
        f"{increase - limit:.2%} more than the {limit:.2%} of gate.maxPerplexityIncrease"
    ]


def _missed_comparison(gate: GateSpec, scores: ScoresStatus) -> list[str]:
    missed = []
    most, divergence = gate.max_kl_divergence, round(scores.kl_divergence or 0.0, _KL_DECIMALS)
    if most is not None and divergence > most:
        missed.append(
            f"its KL divergence from the base is {divergence:.6g} nats, "
            f"{divergence - most:.6g} more than the {most:.6g} of gate.maxKlDivergence"
        )
    least, agreement = gate.min_top1_agreement, round(scores.top1_agreement or 0.0, _DECIMALS)
    if least is not None and agreement < least:
        missed.append(
            f"it agrees with the base on {agreement:.2%} of tokens, "
            f"{least - agreement:.2%} less than the {least:.2%} of gate.minTop1Agreement"
        )
    return missed


def _missed_task(gate: GateSpec, base: TaskStatus, made: TaskStatus) -> list[str]:
    """By the first metric; of all that tasks are measured by here, more is better."""
    limit, metric = gate.max_task_score_decrease, base.metrics[0].metric
    value = next((each.value for each in made.metrics if each.metric == metric), None)
    if limit is None:
        return []
    if value is None:
        return [
            f"task {made.name} has {metric} of the base and {made.metrics[0].metric} of the variant, because its file "
            "has changed between the two; name it at another place to have both measured anew"
        ]
    before, after = round(base.metrics[0].value, _DECIMALS), round(value, _DECIMALS)
    decrease = round(before - after, _DECIMALS)
    if decrease <= limit:
        return []
    return [
        f"its {metric} in task {made.name} is {after:.4g} where that of the base is {before:.4g}: {decrease:.4g} "
        f"lower, {decrease - limit:.4g} more than the {limit:.4g} of gate.maxTaskScoreDecrease"
    ]


def compares(gate: GateSpec) -> bool:
    """Whether it limits what only a comparison with the base finds."""
    return gate.max_kl_divergence is not None or gate.min_top1_agreement is not None


def _limited(gate: GateSpec) -> bool:
    return gate.max_perplexity_increase is not None or compares(gate) or _limits_tasks(gate)


def _limits_tasks(gate: GateSpec) -> bool:
    return gate.max_task_score_decrease is not None


def _increase(spec: DeepSeekModelSpec, artifacts: Sequence[ArtifactStatus], name: str) -> float | None:
    base, made = (_perplexity(spec, artifacts, part) for part in (BASE, name))
    return round(made / base - 1, _DECIMALS) if base is not None and made is not None else None


def _perplexity(spec: DeepSeekModelSpec, artifacts: Sequence[ArtifactStatus], name: str) -> float | None:
    """As measured on the text that is declared now."""
    artifact = _sealed(artifacts, name)
    if artifact is None or artifact.digest is None or artifact.scores is None:
        return None
    if spec.evaluation is None or artifact.evaluation_identity != evaluate_identity(artifact.digest, spec.evaluation):
        return None
    perplexity = round(artifact.scores.perplexity, _DECIMALS)
    return perplexity if perplexity > 0 else None


def _comparison(spec: DeepSeekModelSpec, artifacts: Sequence[ArtifactStatus], name: str) -> ScoresStatus | None:
    """As measured against this base on the text that is declared now."""
    base, made = _sealed(artifacts, BASE), _sealed(artifacts, name)
    if base is None or base.digest is None or made is None or made.digest is None or spec.evaluation is None:
        return None
    if made.comparison_identity != compare_identity(made.digest, base.digest, spec.evaluation):
        return None
    known = made.scores is not None and made.scores.kl_divergence is not None and made.scores.top1_agreement is not None
    return made.scores if known else None


def _tasks(
    spec: DeepSeekModelSpec, artifacts: Sequence[ArtifactStatus], name: str
) -> list[tuple[TaskStatus, TaskStatus]]:
    """What every declared task found of the base and of the variant; nothing while one of them is not measured."""
    base, made = _sealed(artifacts, BASE), _sealed(artifacts, name)
    if base is None or made is None or spec.evaluation is None:
        return []
    pairs = [(_task(base, task), _task(made, task)) for task in spec.evaluation.tasks]
    known = [(before, after) for before, after in pairs if before is not None and after is not None]
    return known if len(known) == len(pairs) else []


def _task(artifact: ArtifactStatus, task: TaskSpec) -> TaskStatus | None:
    """As measured with the task that is declared now; one that is called otherwise is the same."""
    identity = task_identity(artifact.digest or "", task)
    return next((each for each in artifact.tasks or [] if each.identity == identity and each.metrics), None)


def _sealed(artifacts: Sequence[ArtifactStatus], name: str) -> ArtifactStatus | None:
    return next((each for each in artifacts if each.name == name and each.phase == "Ready"), None)
