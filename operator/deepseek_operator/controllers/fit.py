"""What the sealed artifacts of a model take, and the smallest tensor-parallel degree at which each fits a GPU.

An upper bound of what one rank holds: the largest share of what the engine splits, and all of what it does not (norms,
routers, down-projections to latents, a key-value head of which there are fewer than ranks).
"""

from collections.abc import Sequence
from fractions import Fraction

from deepseek_runtime.wire.attention import BFLOAT16_BYTES, Attention, cache_bytes, sequence_bytes
from deepseek_runtime.wire.result import decode

from deepseek_operator.api.deepseekmodel.architecture import ArchitectureStatus
from deepseek_operator.api.deepseekmodel.artifact import ArtifactStatus
from deepseek_operator.api.deepseekmodel.status import DeepSeekModelStatus
from deepseek_operator.api.fit import ArtifactSizing, GpuFit, PriceSheetStatus, SizingStatus
from deepseek_operator.api.names import Reason
from deepseek_operator.api.price_sheet import GpuPrice, PriceSheet
from deepseek_operator.controllers.artifacts import Advance
from deepseek_operator.controllers.failures import running_terminated
from deepseek_operator.controllers.origin import BASE
from deepseek_operator.controllers.remedies import with_remedy
from deepseek_operator.controllers.sizing import GPU_ALIGNMENT, splits
from deepseek_operator.desired.quantity import human_bytes

GIB = 1024**3
LEAST_CONTEXT = 2048
"""Tokens that must find room beside the weights, unless the model's own context is shorter."""

_SHARE_UNIT = 16
_BLOCK = 16
"""The engine splits widths in multiples of the one, and its cache in blocks of so many tokens."""


def sizing(
    architecture: ArchitectureStatus | None, artifacts: Sequence[ArtifactStatus], sheet: PriceSheet | None
) -> SizingStatus | None:
    """Of all sealed artifacts that engines here can serve; None before the base is sealed."""
    servable = [artifact for artifact in artifacts if artifact.export is None]
    sealed = [artifact for artifact in servable if artifact.phase == "Ready" and _weights(artifact)]
    if architecture is None or not sealed:
        return None
    return _sized(architecture, sealed, sheet)


def elsewhere(base: Advance | None, previous: DeepSeekModelStatus, sheet: PriceSheet | None) -> SizingStatus | None:
    """Of a base that was refused because the runtime does not compute its architecture: what an engine that does needs.

    It is told by the pod that refused it, and stays as it was told when that pod is gone.
    """
    if base is None or base.artifact.phase != "Failed" or base.standing is None:
        return None
    ends = filter(None, map(running_terminated, base.standing.pods))
    results = filter(None, (decode(str(ended.get("message") or "")) for ended in ends))
    refused = next((result.refused for result in results if result.refused is not None), None)
    if refused is None:
        known = any((each.name, each.identity) == (BASE, base.work.identity) for each in previous.artifacts)
        return previous.sizing if known else None
    if refused.architecture is None:
        return _unknown(refused.name)
    architecture = ArchitectureStatus.model_validate(refused.architecture.model_dump())
    return _sized(architecture, [base.artifact.model_copy(update={"weight_bytes": refused.weight_bytes})], sheet)


def _sized(
    architecture: ArchitectureStatus, sealed: Sequence[ArtifactStatus], sheet: PriceSheet | None
) -> SizingStatus:
    found = architecture.attention
    attention = Attention.model_validate(found.model_dump()) if found is not None else None
    per_token = cache_bytes(attention, architecture.layers, architecture.key_value_heads) if attention else None
    if attention is None or per_token is None:
        return _unknown(architecture.name)
    rows = sheet.gpus if sheet is not None else []
    return SizingStatus(
        price_sheet=PriceSheetStatus(name=sheet.name, version=sheet.version) if sheet is not None else None,
        currency=sheet.currency if sheet is not None else None,
        reserve_percent=sheet.reserve_percent if sheet is not None else None,
        artifacts=[
            ArtifactSizing(
                name=artifact.name,
                weight_bytes=_weights(artifact),
                kv_bytes_per_token=per_token,
                kv_bytes_per_sequence=sequence_bytes(attention),
                gpus=[_fit(row, sheet, architecture, attention, artifact) for row in rows] if sheet is not None else [],
            )
            for artifact in sealed
        ],
    )


def _unknown(name: str) -> SizingStatus:
    happened = f"what the attention of {name} keeps of each token is not known"
    return SizingStatus(reason=Reason.SIZING_UNKNOWN, message=with_remedy(Reason.SIZING_UNKNOWN, happened))


def rank_bytes(
    weights: int, dtype: str | None, architecture: ArchitectureStatus, attention: Attention, ranks: int
) -> int:
    """At most what one of so many ranks holds of the weights."""
    if ranks == 1:
        return weights
    ways = 2 if dtype == "float32" else 1
    unsplit = architecture.unsplit_bytes or _unsplit_numbers(architecture, attention, ranks) * BFLOAT16_BYTES
    kept = min(weights, unsplit * ways)
    widths = filter(None, (architecture.intermediate_size, architecture.moe_intermediate_size))
    largest = max((_largest_share(width, ranks) for width in widths), default=Fraction(1, ranks))
    rows = Fraction(-(-architecture.vocab_size // ranks), architecture.vocab_size)
    return kept + int((weights - kept) * max(largest, rows, Fraction(1, ranks)))


def _fit(
    row: GpuPrice, sheet: PriceSheet, architecture: ArchitectureStatus, attention: Attention, artifact: ArtifactStatus
) -> GpuFit:
    memory = row.memory_gib * GIB * (100 - sheet.reserve_percent) // 100
    least = min(LEAST_CONTEXT, architecture.context_length)
    weights = _weights(artifact)
    degrees = [degree for degree in splits(architecture, GPU_ALIGNMENT) if degree <= row.per_node]
    for degree in degrees:
        per_token = cache_bytes(attention, architecture.layers, architecture.key_value_heads, degree) or 0
        free = memory - rank_bytes(weights, artifact.dtype, architecture, attention, degree) - sequence_bytes(attention)
        tokens = free // per_token // _BLOCK * _BLOCK
        if min(tokens, architecture.context_length) >= least:
            return GpuFit(
                name=row.name,
                tensor_parallel=degree,
                longest_context=min(tokens, architecture.context_length),
                hourly_micros=row.hourly_micros * degree,
                break_even_month=sheet.break_even_month(row),
            )
    if not degrees:
        return GpuFit(name=row.name, problem=f"a layer of this model cannot be split over GPUs of {row.name}.")
    largest = degrees[-1]
    needed = rank_bytes(weights, artifact.dtype, architecture, attention, largest)
    return GpuFit(
        name=row.name,
        problem=f"split over {largest}, the most that a machine of {row.per_node} and the model's heads and widths "
        f"allow, the weights take {human_bytes(needed)} of each GPU, and {human_bytes(memory)} of it can be used.",
    )


def _unsplit_numbers(architecture: ArchitectureStatus, attention: Attention, ranks: int) -> int:
    hidden = architecture.hidden_size
    latents = attention.q_lora_rank + attention.kv_lora_rank + attention.qk_rope_head_dim + attention.index_head_dim
    repeated = 2 * attention.head_dim if ranks > architecture.key_value_heads else 0
    norms = 2 * hidden + attention.q_lora_rank + attention.kv_lora_rank
    return hidden + architecture.layers * (
        hidden * (latents + repeated + architecture.routed_experts) + repeated + norms
    )


def _largest_share(width: int, ranks: int) -> Fraction:
    unit = _SHARE_UNIT if width % _SHARE_UNIT == 0 and width >= _SHARE_UNIT * ranks else 1
    return Fraction(-(-(width // unit) // ranks) * unit, width)


def _weights(artifact: ArtifactStatus) -> int:
    """Of what an older runtime sealed, all files: an upper bound."""
    return artifact.weight_bytes or artifact.bytes or 0
