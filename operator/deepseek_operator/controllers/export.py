"""Which exports the base's architecture rules out: told before a pod is made."""

from collections.abc import Sequence

from deepseek_runtime.wire.architecture import DENSE

from deepseek_operator.api.deepseekmodel.architecture import ArchitectureStatus
from deepseek_operator.api.deepseekmodel.spec import VariantSpec
from deepseek_operator.api.names import Condition, Reason
from deepseek_operator.controllers.conditions import Verdict, stalled


def impossible(variants: Sequence[VariantSpec], architecture: ArchitectureStatus | None) -> tuple[VariantSpec, ...]:
    """The variants that nothing can be made for; none while the architecture is not known."""
    if architecture is None or architecture.name in DENSE:
        return ()
    return tuple(variant for variant in variants if variant.export is not None and variant.export.onnx is not None)


def verdict(variants: Sequence[VariantSpec], architecture: ArchitectureStatus | None) -> Verdict | None:
    """That these variants are impossible; None where there are none."""
    if not variants or architecture is None:
        return None
    names = ", ".join(variant.name for variant in variants)
    return stalled(
        Condition.VARIANTS_READY,
        Reason.UNSUPPORTED_EXPORT,
        f"export.onnx of variant {names} is for dense models, and {architecture.name} is a mixture of experts. "
        "Take export.gguf for it, or drop the export.",
    )
