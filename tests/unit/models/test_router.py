"""The gate answers as transformers' own does, learns, and tells which experts it neglects."""

import copy
from pathlib import Path

import pytest
import torch
from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.models import scratch
from deepseek_runtime.models.families import CLASSES
from deepseek_runtime.models.router import DynamicRouter, ExpertLoad, install
from deepseek_runtime.weights.load import load_config, load_model
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.tiny import Reports, build_job


@pytest.mark.parametrize(
    "changes",
    [{}, {"topk_method": "group_limited_greedy", "n_group": 2, "topk_group": 1}, {"routed_scaling_factor": 3.0}],
)
def test_a_model_gives_the_same_logits_with_it(tmp_path: Path, changes: dict[str, object]) -> None:
    scratch.run(build_job(tmp_path, "DeepSeekV2", **{"moe_intermediate_size": 16, **changes}), Reports())
    directory = tmp_path / "volume" / "artifact"
    with torch.inference_mode():
        plain = CLASSES["DeepseekV2ForCausalLM"](load_config(directory)).train(False)
        replaced = copy.deepcopy(plain)
        install(replaced)
        tokens = torch.arange(3, 60)[None]
        torch.testing.assert_close(plain(tokens).logits, replaced(tokens).logits, rtol=0, atol=2e-6)
    assert plain.state_dict().keys() == replaced.state_dict().keys()
    assert isinstance(load_model(directory).model.layers[1].mlp.gate, DynamicRouter)


@settings(max_examples=50, deadline=None)
@given(
    tokens=st.integers(0, 20),
    width=st.integers(1, 9),
    experts=st.integers(1, 8),
    data=st.data(),
    seed=st.integers(0, 99),
)
def test_every_token_has_distinct_experts_whose_weights_sum_to_the_scale(
    tokens: int, width: int, experts: int, data: st.DataObject, seed: int
) -> None:
    k = data.draw(st.integers(1, experts))
    torch.manual_seed(seed)
    router = DynamicRouter(width, experts, k, scale=2.5)
    logits, weights, chosen = router(torch.randn(tokens, width))
    assert (logits.shape, weights.shape, chosen.shape) == ((tokens, experts), (tokens, k), (tokens, k))
    assert all(len(set(row)) == k for row in chosen.tolist())
    assert torch.allclose(weights.sum(-1), torch.full((tokens,), 2.5))
    assert sum(router.load.tokens) == tokens * k
    router.reset_load()
    assert router.load == ExpertLoad((0,) * experts)


def test_it_tells_dead_experts_and_how_uneven_the_load_is() -> None:
    router = DynamicRouter(4, 4, 1)
    with torch.no_grad():
        router.weight.copy_(torch.eye(4))
    router(torch.tensor([[[9.0, 0, 0, 0], [9, 0, 0, 0], [9, 0, 0, 0], [0, 9, 0, 0]]]))
    assert router.load == ExpertLoad((3, 1, 0, 0))
    assert router.load.max_to_mean == 3.0
    assert router.load.dead == 2
    assert "tokens_per_expert" not in router.state_dict()


def test_it_learns_which_expert_a_token_needs() -> None:
    torch.manual_seed(0)
    router = DynamicRouter(8, 4, 1, normalized=False)
    x = torch.randn(256, 8)
    wanted = x[:, :4].argmax(-1)
    optimizer = torch.optim.Adam(router.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        logits, _, _ = router(x)
        torch.nn.functional.cross_entropy(logits, wanted).backward()
        optimizer.step()
    assert (router(x)[2][:, 0] == wanted).float().mean() > 0.95


@pytest.mark.parametrize(
    "wrong",
    [{"input_dim": 0}, {"num_experts": 0}, {"top_k": 5}, {"top_k": 0}, {"groups": 3}, {"groups": 2, "top_k": 3}],
)
def test_what_cannot_be_chosen_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        DynamicRouter(**{"input_dim": 8, "num_experts": 4, "top_k": 1, **wrong})  # type: ignore[arg-type]
    assert caught.value.reason == "InvalidConfig"
