"""Which tensors a GGUF file has, and of which rows of the stored ones each is made.

llama.cpp wants the routed experts of a layer stacked, the up-projection of a latent split into its keys (transposed,
for they are multiplied into the query) and its values, and pairs of rotated dimensions side by side.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from gguf import MODEL_ARCH, get_tensor_name_map

from deepseek_runtime.export.gguf.rope import FREQUENCIES
from deepseek_runtime.export.gguf.unsupported import unsupported
from deepseek_runtime.quantize.parts import Shape
from deepseek_runtime.quantize.selection import EXPERT
from deepseek_runtime.weights import shapes
from deepseek_runtime.weights.stored import StoredWeights

ARCHITECTURES = {
    "DeepSeekV3": MODEL_ARCH.DEEPSEEK2,
    "DeepSeekV2": MODEL_ARCH.DEEPSEEK2,
    "Llama": MODEL_ARCH.LLAMA,
}
"""What llama.cpp calls each family."""

Arrange = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows `first:last` of a stored tensor. What is rearranged is read at once, all else can be read in bands."""

    source: str
    first: int
    last: int
    arrange: Arrange | None = None


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the file; its parts, stored rows or numbers, follow each other along its rows."""

    name: str
    shape: Shape
    parts: tuple[Rows | torch.Tensor, ...]


def tensors(
    family: str, c: Mapping[str, Any], weights: StoredWeights, frequencies: torch.Tensor | None = None
) -> list[Tensor]:
    """Everything that the file holds, in its order; `c` is a completed config, `frequencies` as of `rope`.

    Errors: DataError `UnsupportedExport` for a tensor that the family does not have, as a bias.
    """
    wanted = dict(shapes.expected(family, c))
    for name in weights:
        if name not in wanted and not _left_out(name, c):
            raise unsupported(f"The weights have a tensor {name}, which no {family} has that is exported.")
    names = get_tensor_name_map(ARCHITECTURES[family], c["num_hidden_layers"])
    found: dict[str, Tensor] = {}
    for name, shape in wanted.items():
        for part, made, rows in _made_of(name, shape, family, c):
            called = names.get_name(part.replace(".e_score_correction_bias", ".e_score_correction.bias"), _SUFFIXES)
            assert called is not None  # noqa: S101 the library knows the names of both architectures
            stacked = found.get(called, Tensor(called, (0, *made), ())) if EXPERT.match(name) else None
            if stacked is None:
                found[called] = Tensor(called, made, rows)
            else:
                found[called] = Tensor(called, (stacked.shape[0] + 1, *made), stacked.parts + rows)
    if frequencies is not None:
        found[FREQUENCIES] = Tensor(FREQUENCIES, tuple(frequencies.shape), (frequencies,))
    return list(found.values())


_SUFFIXES = (".weight", ".bias")


def _left_out(name: str, c: Mapping[str, Any]) -> bool:
    """Heads that predict several tokens, tables that follow from the config, a second name of tied embeddings."""
    at = name.split(".")
    beyond = at[:2] == ["model", "layers"] and at[2].isdecimal() and int(at[2]) >= c["num_hidden_layers"]
    tied = name == "lm_head.weight" and c["tie_word_embeddings"]
    return beyond or tied or name.endswith(".rotary_emb.inv_freq")


def _made_of(
    name: str, shape: Shape, family: str, c: Mapping[str, Any]
) -> Iterator[tuple[str, Shape, tuple[Rows, ...]]]:
    """What becomes of a stored tensor: the name that the library knows, the shape and the rows of each part."""
    if (expert := EXPERT.match(name)) is not None:
        yield f"{expert[1]}.{name.split('.')[-2]}.weight", shape, (Rows(name, 0, shape[0]),)
    elif name.endswith(".kv_b_proj.weight"):
        yield from _up_projection(name, c)
    else:
        yield name, shape, _plain(name, shape, family, c)


def _up_projection(name: str, c: Mapping[str, Any]) -> Iterator[tuple[str, Shape, tuple[Rows, ...]]]:
    heads, nope, value, latent = (
        c["num_attention_heads"],
        c["qk_nope_head_dim"],
        c["v_head_dim"],
        c["kv_lora_rank"],
    )
    begins = [head * (nope + value) for head in range(heads)]
    keys = tuple(Rows(name, begin, begin + nope, _transposed) for begin in begins)
    values = tuple(Rows(name, begin + nope, begin + nope + value) for begin in begins)
    yield name.replace("kv_b_proj", "k_b_proj"), (heads, latent, nope), keys
    yield name.replace("kv_b_proj", "v_b_proj"), (heads, value, latent), values


def _plain(name: str, shape: Shape, family: str, c: Mapping[str, Any]) -> tuple[Rows, ...]:
    projection = name.rsplit(".", 2)[-2]
    if family == "Llama":
        rotated = projection in ("q_proj", "k_proj")
        return _heads(name, shape[0], c["head_dim"], _paired) if rotated else (Rows(name, 0, shape[0]),)
    if c.get("rope_interleave", True) is False and (rope := c["qk_rope_head_dim"]):
        if projection in ("q_proj", "q_b_proj"):
            return _heads(name, shape[0], c["qk_nope_head_dim"] + rope, lambda rows: _last_paired(rows, rope))
        if projection == "kv_a_proj_with_mqa":
            return Rows(name, 0, shape[0] - rope), Rows(name, shape[0] - rope, shape[0], _paired)
    return (Rows(name, 0, shape[0]),)


def _heads(name: str, rows: int, size: int, arrange: Arrange) -> tuple[Rows, ...]:
    return tuple(Rows(name, begin, begin + size, arrange) for begin in range(0, rows, size))


def _transposed(rows: torch.Tensor) -> torch.Tensor:
    return rows.T


def _paired(rows: torch.Tensor) -> torch.Tensor:
    """The rows of a head, whose first half is rotated with its second, so that those of a pair are neighbours."""
    return rows.view(2, -1, rows.shape[1]).transpose(0, 1).reshape(rows.shape)


def _last_paired(rows: torch.Tensor, count: int) -> torch.Tensor:
    return torch.cat([rows[:-count], _paired(rows[-count:])])
