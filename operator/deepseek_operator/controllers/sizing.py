"""Whether what is asked for fits: volumes, heads, contexts. Found out before a pod exists."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from deepseek_runtime.wire.architecture import parameters, problems

from deepseek_operator.api.deepseekmodel.architecture import ArchitectureStatus
from deepseek_operator.api.deepseekmodel.source import ScratchSource
from deepseek_operator.api.inferenceservice import InferenceServiceSpec
from deepseek_operator.api.names import Reason
from deepseek_operator.desired.quantity import amount, human_bytes

Problem = tuple[str, str]
"""A reason and a message that says what to do."""

FLOAT32_BYTES = 4
ADAM_FLOATS = 3
"""Of each parameter a checkpoint holds the weight and AdamW's two moments."""

GPU = "nvidia.com/gpu"
GPU_ALIGNMENT = 8
"""On a GPU a rank's part of an expert has at least so many numbers: 16 bytes of bfloat16."""

_MARGIN = Decimal("1.1")
_SMALL_FILES = 64 * 1024**2


def scratch_problem(source: ScratchSource, size: str) -> Problem | None:
    """What is wrong with a new model: its config, or that its weights do not fit the volume."""
    vocab_size = source.tokenizer.vocab_size
    if found := problems(source.architecture, source.config, vocab_size):
        return Reason.INVALID_CONFIG, f"source.scratch: {'; '.join(found[:4])}."
    count = parameters(source.architecture, source.config, vocab_size)
    return volume_problem(count * FLOAT32_BYTES, size, f"a model of {count:,} parameters", "storage.size")


def checkpoints_problem(count: int, keep: int, stages: int, size: str) -> Problem | None:
    """Whether a run's volume holds its checkpoints, the one being written among them, and its exports."""
    needed = count * FLOAT32_BYTES * (ADAM_FLOATS * (keep + 1) + stages)
    held = f"{keep} checkpoints, the next one and {stages} exports of {count:,} parameters"
    return volume_problem(needed, size, held, "checkpoint.storage.size")


def sharing_problem(nodes: int, volumes: Mapping[str, Sequence[str]]) -> Problem | None:
    """Whether the volumes, by the field that says how they can be accessed, can be had on several nodes at once."""
    single = [field for field, modes in volumes.items() if "ReadWriteMany" not in modes]
    if nodes == 1 or not single:
        return None
    return (
        Reason.NEEDS_SHARED_VOLUME,
        f"{nodes} pods on as many nodes need the same volumes, but {' and '.join(single)} allow ReadWriteOnce only. "
        "Set them to [ReadWriteMany], with a storage class that has it, or compute.nodes to 1.",
    )


def volume_problem(content: int, size: str, held: str, field: str) -> Problem | None:
    """Whether so many bytes fit a volume, with a tenth and 64 MiB to spare."""
    needed = int(content * _MARGIN) + _SMALL_FILES
    if needed <= amount(size):
        return None
    return (
        Reason.STORAGE_TOO_SMALL,
        f"{held} needs {human_bytes(needed)}, but {field} is {size}. "
        f"Set {field} to {_suggested(needed)} or more, or make the model smaller.",
    )


def splits(architecture: ArchitectureStatus, alignment: int = 1) -> tuple[int, ...]:
    """The tensor-parallel degrees at which the engine can split every layer: heads, experts and dense layers."""
    return tuple(n for n in _divisors(architecture) if n * alignment <= _narrowest(architecture, n * alignment))


def service_problem(spec: InferenceServiceSpec, architecture: ArchitectureStatus) -> Problem | None:
    """Whether the engine can split this model so and hold such a context."""
    tensor = spec.parallelism.tensor
    possible = _divisors(architecture)
    if tensor not in possible:
        heads, shared = _heads(architecture)
        return (
            Reason.HEADS_NOT_DIVISIBLE,
            f"{heads} attention heads ({shared} of keys and values) cannot be split over parallelism.tensor {tensor}; "
            f"it can be {', '.join(map(str, possible))}.",
        )
    alignment = GPU_ALIGNMENT if GPU in {**spec.pods.resources.requests, **spec.pods.resources.limits} else 1
    narrowest = _narrowest(architecture, tensor * alignment)
    if tensor * alignment > narrowest:
        return (
            Reason.LAYERS_TOO_NARROW,
            f"a layer of width {narrowest} cannot be split over parallelism.tensor {tensor}"
            f"{f' in parts of {alignment}, as GPUs need it' if alignment > 1 else ''}; "
            f"it can be {', '.join(map(str, splits(architecture, alignment))) or 'served on CPUs only'}.",
        )
    asked = spec.engine.context_length
    if asked is not None and asked > architecture.context_length:
        return (
            Reason.CONTEXT_TOO_LONG,
            f"engine.contextLength is {asked}, but the model was made for {architecture.context_length} tokens. "
            f"Set it to {architecture.context_length} or less, or leave it out.",
        )
    return None


def context_length(spec: InferenceServiceSpec, architecture: ArchitectureStatus) -> int:
    """The longest context that is offered: what is asked for, or the model's own as far as the cache holds it."""
    return spec.engine.context_length or min(architecture.context_length, spec.engine.cache_tokens)


def _heads(architecture: ArchitectureStatus) -> tuple[int, int]:
    """Of queries, and of keys and values; one latent serves all heads, on every rank."""
    heads = architecture.attention_heads
    return heads, heads if architecture.name.startswith("Deepseek") else architecture.key_value_heads


def _divisors(architecture: ArchitectureStatus) -> tuple[int, ...]:
    heads, shared = _heads(architecture)
    # fewer key-value heads than ranks: several ranks hold the same one
    groups = architecture.attention.output_groups if architecture.attention is not None else 0
    return tuple(n for n in range(1, 65) if heads % n == 0 and groups % n == 0 and (shared % n == 0 or n % shared == 0))


def _narrowest(architecture: ArchitectureStatus, otherwise: int) -> int:
    """Width of the narrowest layer; `otherwise` where no width is known."""
    return min(filter(None, (architecture.intermediate_size, architecture.moe_intermediate_size)), default=otherwise)


def _suggested(needed: int) -> str:
    """The next power of two in Mi or Gi."""
    unit, name = (1024**2, "Mi") if needed <= 512 * 1024**2 else (1024**3, "Gi")
    size = 1
    while size * unit < needed:
        size *= 2
    return f"{size}{name}"
