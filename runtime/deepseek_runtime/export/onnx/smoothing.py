"""Outliers of activations moved into weights, so that one scale fits all channels of what a linear layer reads.

Xiao et al., SmoothQuant, 2022, arXiv 2211.10438. There it is done to what norms give; here also to what o_proj and
down_proj read, which is linear in the rows of v_proj and up_proj. Factors are powers of two: whatever the model
computes stays the same to the bit.
"""

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

STRENGTH = 0.7
"""How much of the outliers moves: 0 leaves all to the activations, 1 all to the weights."""


@torch.no_grad()
def smooth(model: PreTrainedModel, tokens: torch.Tensor) -> None:
    """Change a Llama in place, by the largest inputs that its layers have for tokens (sequences, length)."""
    largest = _largest_inputs(model, tokens)
    kept = model.config.num_key_value_heads
    heads = (kept, model.config.num_attention_heads // kept)
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        _move(layer.input_layernorm, (attention.q_proj, attention.k_proj, attention.v_proj), largest)
        _move(attention.v_proj, (attention.o_proj,), largest, heads)
        _move(layer.post_attention_layernorm, (mlp.gate_proj, mlp.up_proj), largest)
        _move(mlp.up_proj, (mlp.down_proj,), largest)


def _largest_inputs(model: PreTrainedModel, tokens: torch.Tensor) -> dict[nn.Module, torch.Tensor]:
    """Of each linear layer the largest magnitude of every input, (inputs,)."""
    largest: dict[nn.Module, torch.Tensor] = {}

    def look(layer: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        found = given[0].abs().flatten(0, -2).amax(0)
        largest[layer] = torch.maximum(found, largest[layer]) if layer in largest else found

    layers = [each for each in model.model.modules() if isinstance(each, nn.Linear)]
    hooks = [each.register_forward_pre_hook(look) for each in layers]
    try:
        for row in tokens:
            model.model(input_ids=row[None], use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return largest


def _move(
    source: nn.Module,
    readers: Sequence[nn.Linear],
    largest: dict[nn.Module, torch.Tensor],
    heads: tuple[int, int] = (1, 1),
) -> None:
    """Divide what `source` gives, and multiply the columns of those that read it.

    `heads`: how many the source gives, and how many of the readers' inputs each of them becomes.
    """
    weights = torch.stack([each.weight.abs().amax(0) for each in readers]).amax(0)
    inputs, weights = (each.view(*heads, -1).amax(1) for each in (largest[readers[0]], weights))
    factors = _factors(inputs, weights)  # (heads, width)
    for parameter in source.parameters(recurse=False):  # a bias, too
        parameter.div_(factors.view(-1, *[1] * (parameter.dim() - 1)))
    for each in readers:
        each.weight.mul_(factors[:, None].expand(-1, heads[1], -1).flatten())


def _factors(inputs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """For each channel; 1 where it is always zero, for nothing is known of it."""
    wanted = inputs.pow(STRENGTH) / weights.pow(1 - STRENGTH)
    known = (inputs > 0) & (weights > 0)
    return torch.where(known, torch.exp2(torch.log2(wanted).round()), torch.ones_like(wanted))
