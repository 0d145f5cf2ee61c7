"""Families that other engines serve: parameters are those that transformers makes, counted on the meta device."""

from typing import Any

import pytest
import torch
from deepseek_runtime.wire.elsewhere import architecture
from transformers import AutoConfig, AutoModelForCausalLM

from tests.unit.wire.test_attention import LATENT, TINY, V4

SPARSE: dict[str, Any] = {"index_head_dim": 16, "index_n_heads": 2, "index_topk": 4, "first_k_dense_replace": 1}
CONFIGS: dict[str, dict[str, Any]] = {
    "qwen2": {**TINY, "architectures": ["Qwen2ForCausalLM"], "num_key_value_heads": 2},
    "deepseek_v32": {**TINY, **LATENT, **SPARSE, "architectures": ["DeepseekV32ForCausalLM"]},
    "deepseek_v4": V4,
}


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("tied", [False, True])
def test_parameters_are_those_that_transformers_makes(family: str, tied: bool) -> None:
    config = AutoConfig.for_model(family, **{**CONFIGS[family], "tie_word_embeddings": tied})
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    found = architecture(config.to_dict())
    assert found is not None
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_what_transformers_does_not_split_lies_whole_on_every_rank() -> None:
    config = AutoConfig.for_model("deepseek_v4", **V4)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    whole = [parameter for name, parameter in model.named_parameters() if ".experts." not in name]
    found = architecture(V4)
    assert found is not None
    assert 2 * sum(map(torch.numel, whole)) < found.unsplit_bytes < 4 * sum(map(torch.numel, whole))


@pytest.mark.parametrize("family", CONFIGS)
def test_a_config_that_lacks_something_is_unknown(family: str) -> None:
    for key in ("hidden_size", "num_key_value_heads", "vocab_size"):
        assert architecture({name: value for name, value in CONFIGS[family].items() if name != key}) is None
        assert architecture({**CONFIGS[family], key: "x"}) is None
        assert architecture({**CONFIGS[family], key: 1 << 40}) is None
    assert architecture({**CONFIGS[family], "num_hidden_layers": 1 << 20}) is None
