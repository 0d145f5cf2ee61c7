"""Configurations as DeepSeek publishes them."""

import json
from pathlib import Path
from typing import Any

import pytest
from deepseek_runtime.fetch import support
from deepseek_runtime.job.errors import DataError

V2_LITE: dict[str, Any] = {
    "architectures": ["DeepseekV2ForCausalLM"],
    "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV2Config"},
    "aux_loss_alpha": 0.001,
    "bos_token_id": 100000,
    "first_k_dense_replace": 1,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "initializer_range": 0.02,
    "intermediate_size": 10944,
    "kv_lora_rank": 512,
    "max_position_embeddings": 163840,
    "moe_intermediate_size": 1408,
    "n_group": 1,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "norm_topk_prob": False,
    "num_attention_heads": 16,
    "num_experts_per_tok": 6,
    "num_hidden_layers": 27,
    "num_key_value_heads": 16,
    "q_lora_rank": None,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "rms_norm_eps": 1e-06,
    "rope_scaling": {"type": "yarn", "factor": 40},
    "rope_theta": 10000,
    "routed_scaling_factor": 1.0,
    "topk_group": 1,
    "topk_method": "greedy",
    "torch_dtype": "bfloat16",
    "v_head_dim": 128,
    "vocab_size": 102400,
}
DISTILLED = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "head_dim": 128,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_theta": 500000.0,
    "vocab_size": 128256,
}
FP8 = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128]}
OWN = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"},
        }
    },
}
UNUSED = {"transform_config": {}, "kv_cache_scheme": None, "sparsity_config": {"format": "dense"}}
"""What other tools write where they have nothing to say."""


@pytest.mark.parametrize("config", [V2_LITE, DISTILLED], ids=["V2-Lite", "R1-Distill-Llama-8B"])
def test_what_is_read(tmp_path: Path, config: dict[str, Any]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    support.check(tmp_path, 0)


def test_deepseeks_fp8_blocks_are_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(V2_LITE | {"quantization_config": FP8}))
    support.check(tmp_path, 0)


@pytest.mark.parametrize(
    "how",
    [
        {**FP8, "weight_block_size": [64, 64]},
        {**FP8, "weight_block_size": None},
        {**FP8, "fmt": "e5m2"},
        {**FP8, "activation_scheme": "static"},
        {"quant_method": "gptq", "bits": 4},
        {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {}},
        {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": None}}},
        "int8",
        {},
        {**OWN, "transform_config": {"config_groups": {"R1": {"type": "hadamard"}}}},
        {**OWN, "kv_cache_scheme": {"num_bits": 8, "type": "float"}},
        {**OWN, "sparsity_config": {"format": "sparse-24-bitmask"}},
    ],
)
def test_other_forms_are_refused_with_what_they_are_called(tmp_path: Path, how: object) -> None:
    (tmp_path / "config.json").write_text(json.dumps(V2_LITE | {"quantization_config": how}))
    with pytest.raises(DataError, match=r"quantized \(.*\) in a form that this runtime does not read") as caught:
        support.check(tmp_path, 0)
    assert caught.value.reason == "UnsupportedQuantization"


def test_the_int8_of_this_project_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(DISTILLED | {"quantization_config": OWN | UNUSED}))
    support.check(tmp_path, 0)
