"""Examples that share a row are as if each were alone, in every architecture."""

import pytest
import torch
from deepseek_runtime.models.families import FAMILIES
from deepseek_runtime.models.scratch import build_config
from transformers import PreTrainedModel

from ...tiny import CONFIGS

LENGTHS = (7, 1, 12, 5)


@pytest.fixture(params=[(name, attention) for name in FAMILIES for attention in ("sdpa", "eager")], ids="-".join)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    architecture, attention = request.param
    config = build_config(architecture, CONFIGS[architecture], 320)
    config._attn_implementation = attention
    torch.manual_seed(0)
    made = FAMILIES[architecture](config)
    made.set_experts_implementation("eager")
    return made


def packed() -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    texts = [torch.randint(0, 320, (length,), generator=generator) for length in LENGTHS]
    return texts, torch.cat(texts)[None], torch.cat([torch.arange(length) for length in LENGTHS])[None]


@torch.no_grad()
def test_logits_are_those_of_each_example_alone(model: PreTrainedModel) -> None:
    texts, row, positions = packed()
    together = model(input_ids=row, position_ids=positions, use_cache=False).logits[0]
    alone = torch.cat([model(input_ids=text[None], use_cache=False).logits[0] for text in texts])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    leaking = model(input_ids=row, use_cache=False).logits[0]
    assert (leaking - alone).abs().max() > 0.01, "the test could not tell"


def test_no_gradient_of_one_example_reaches_anothers_tokens(model: PreTrainedModel) -> None:
    _, row, positions = packed()
    embedded = model.get_input_embeddings()(row).detach().requires_grad_()
    logits = model(inputs_embeds=embedded, position_ids=positions, use_cache=False).logits[0]
    first, last = LENGTHS[0] + LENGTHS[1], sum(LENGTHS[:3])
    logits[first:last].logsumexp(-1).sum().backward()
    assert embedded.grad is not None
    touched = embedded.grad[0].abs().sum(-1) > 0
    assert touched[first:last].all()
    assert not touched[:first].any()
    assert not touched[last:].any()
