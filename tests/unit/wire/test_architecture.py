"""The formula against transformers itself: parameters counted on the meta device."""

from typing import Any

import pytest
import torch
from deepseek_runtime.wire.architecture import KEYS, complete, parameters, problems
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    DeepseekV2Config,
    DeepseekV2ForCausalLM,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

CLASSES: dict[str, Any] = {
    "DeepSeekV3": (DeepseekV3Config, DeepseekV3ForCausalLM),
    "DeepSeekV2": (DeepseekV2Config, DeepseekV2ForCausalLM),
    "Llama": (LlamaConfig, LlamaForCausalLM),
}


@st.composite
def configs(draw: st.DrawFn) -> tuple[str, dict[str, Any], int]:
    architecture = draw(st.sampled_from(sorted(CLASSES)))
    heads = draw(st.sampled_from([1, 2, 4]))
    config: dict[str, Any] = {
        "hidden_size": heads * draw(st.sampled_from([8, 16])),
        "intermediate_size": draw(st.integers(8, 40)),
        "num_hidden_layers": draw(st.integers(1, 3)),
        "num_attention_heads": heads,
        "tie_word_embeddings": draw(st.booleans()),
    }
    if architecture == "Llama":
        config["num_key_value_heads"] = draw(st.sampled_from([n for n in (1, 2, 4) if heads % n == 0]))
        config["head_dim"] = draw(st.sampled_from([None, 4, 10]))
    else:
        groups = draw(st.sampled_from([1, 2]))
        config |= {
            "moe_intermediate_size": draw(st.integers(4, 20)),
            "n_routed_experts": 4 * draw(st.integers(1, 3)),
            "n_shared_experts": draw(st.integers(1, 2)),
            "num_experts_per_tok": draw(st.integers(1, 2)),
            "n_group": groups,
            "topk_group": draw(st.integers(1, groups)),
            "first_k_dense_replace": draw(st.integers(0, 4)),
            "q_lora_rank": draw(st.sampled_from([None, 6])),
            "kv_lora_rank": draw(st.integers(4, 12)),
            "qk_nope_head_dim": draw(st.integers(2, 10)),
            "qk_rope_head_dim": 2 * draw(st.integers(1, 4)),
            "v_head_dim": draw(st.integers(2, 10)),
        }
    return architecture, config, draw(st.integers(16, 100))


@settings(max_examples=40)
@given(configs())
def test_parameters_are_those_that_transformers_makes(case: tuple[str, dict[str, Any], int]) -> None:
    architecture, config, vocab_size = case
    assert problems(architecture, config, vocab_size) == ()
    config_class, model_class = CLASSES[architecture]
    with torch.device("meta"):
        model = model_class(config_class(**complete(architecture, config), vocab_size=vocab_size))
    assert parameters(architecture, config, vocab_size) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("architecture", sorted(CLASSES))
def test_keys_and_defaults_are_those_of_transformers(architecture: str) -> None:
    theirs = CLASSES[architecture][0]()
    for name, key in KEYS[architecture].items():
        if name == "rope_theta":
            assert theirs.rope_parameters["rope_theta"] == key.default
        elif name not in {"num_key_value_heads", "head_dim"}:  # follow from other keys
            assert getattr(theirs, name) == key.default, name


def test_the_published_sizes() -> None:
    assert parameters("DeepSeekV3", {}, 129280) == 671_026_404_352  # DeepSeek-V3's main model
    assert parameters("Llama", {}, 32000) == 6_738_415_616  # Llama-2-7B


@pytest.mark.parametrize(
    ("architecture", "config", "said"),
    [
        ("DeepSeekV9", {}, "can be DeepSeekV2, DeepSeekV3 or Llama"),
        ("Llama", {"n_routed_experts": 8}, "is not a key of Llama"),
        ("Llama", {"vocab_size": 100}, "tokenizer.vocabSize"),
        ("Llama", {"hidden_size": "big"}, "must be a whole number"),
        ("Llama", {"hidden_size": True}, "must be a whole number"),
        ("Llama", {"hidden_size": None}, "must be a whole number"),
        ("Llama", {"hidden_size": 10**12}, "from 1 to 1048576"),
        ("Llama", {"tie_word_embeddings": 1}, "true or false"),
        ("Llama", {"hidden_act": "gelu"}, "it can be silu"),
        ("Llama", {"hidden_size": 100, "num_attention_heads": 3}, "multiple of config.num_attention_heads"),
        ("Llama", {"num_attention_heads": 32, "num_key_value_heads": 5}, "multiple of config.num_key_value_heads"),
        ("DeepSeekV3", {"num_attention_heads": 4, "num_key_value_heads": 2}, "set it to 4"),
        ("DeepSeekV3", {"qk_rope_head_dim": 7}, "even number"),
        ("DeepSeekV3", {"n_routed_experts": 12}, "multiple of config.n_group"),
        ("DeepSeekV3", {"n_routed_experts": 8}, "at least 2"),
        ("DeepSeekV3", {"topk_group": 9}, "at most config.n_group"),
        ("DeepSeekV3", {"num_experts_per_tok": 129}, "leaves 128 experts"),
        ("DeepSeekV2", {}, "num_experts_per_tok must be given"),
        ("DeepSeekV2", {"num_experts_per_tok": 65}, "at most config.n_routed_experts"),
        ("DeepSeekV2", {"num_experts_per_tok": 2, "topk_method": "group_limited_greedy"}, "needs config.n_group"),
    ],
)
def test_a_refusal_says_what_is_possible(architecture: str, config: dict[str, Any], said: str) -> None:
    found = problems(architecture, config, 1000)
    assert found
    assert any(said in problem for problem in found), found
