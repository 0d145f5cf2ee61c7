"""Outliers leave what int8 reads, and the model computes what it did, to the bit."""

import pytest
import torch
from deepseek_runtime.export.onnx import smoothing
from transformers import LlamaConfig, LlamaForCausalLM

OUTLIER = 3
"""A channel of each place."""


def spoilt(**changes: object) -> LlamaForCausalLM:
    """A Llama in each of whose layers one channel is far larger than all others."""
    torch.manual_seed(4)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(**{"vocab_size": 64, "num_key_value_heads": 2, **shape, **changes})
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for layer in model.model.layers:
            for norm in (layer.input_layernorm, layer.post_attention_layernorm):
                norm.weight[OUTLIER] = 60
            for linear in (layer.self_attn.v_proj, layer.mlp.up_proj):
                linear.weight[OUTLIER] *= 60
    return model


def unevenness(model: LlamaForCausalLM, tokens: torch.Tensor) -> list[float]:
    """Of what each linear layer reads, the largest value as a multiple of the median channel's."""
    with torch.no_grad():
        found = smoothing._largest_inputs(model, tokens).values()
    return [float(each.max() / each.median()) for each in found]


@pytest.mark.parametrize("changes", [{}, {"attention_bias": True, "mlp_bias": True}, {"num_key_value_heads": 4}])
def test_outliers_move_into_weights_and_no_logit_changes(changes: dict[str, object]) -> None:
    model = spoilt(**changes)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".bias"):
                parameter.normal_(0, 0.1)
    tokens = torch.randint(64, (4, 32))
    with torch.inference_mode():
        before, uneven = model(input_ids=tokens).logits, unevenness(model, tokens)
    smoothing.smooth(model, tokens)
    with torch.inference_mode():
        assert torch.equal(model(input_ids=tokens).logits, before)
    assert all(now < 0.5 * then for now, then in zip(unevenness(model, tokens), uneven, strict=True))


def test_a_channel_that_is_always_zero_is_left_as_it_is() -> None:
    model = spoilt()
    norm = model.model.layers[0].input_layernorm
    with torch.no_grad():
        norm.weight[5] = 0
        before = model.model.layers[0].self_attn.q_proj.weight[:, 5].clone()
    smoothing.smooth(model, torch.randint(64, (2, 16)))
    assert norm.weight[5] == 0
    assert torch.equal(model.model.layers[0].self_attn.q_proj.weight[:, 5], before)
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
