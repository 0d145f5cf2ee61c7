"""What the operator refuses before a pod exists is what the engine would refuse in it."""

import torch
from deepseek_operator.api.deepseekmodel.architecture import ArchitectureStatus
from deepseek_operator.api.inferenceservice import InferenceServiceSpec
from deepseek_operator.controllers.sizing import service_problem
from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.serve.weights import check_supported
from hypothesis import given
from hypothesis import strategies as st
from transformers import DeepseekV3Config, LlamaConfig, PretrainedConfig


def engine_says(config: PretrainedConfig, tensor: int, device: str = "cpu") -> str | None:
    try:
        check_supported(config, tensor, torch.device(device))
    except ConfigurationError as error:
        return error.reason
    return None


def operator_says(config: PretrainedConfig, name: str, tensor: int, device: str = "cpu") -> str | None:
    architecture = ArchitectureStatus(
        name=name,
        parameters=1,
        layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        attention_heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads,
        intermediate_size=config.intermediate_size,
        moe_intermediate_size=getattr(config, "moe_intermediate_size", 0),
        vocab_size=config.vocab_size,
        context_length=config.max_position_embeddings,
    )
    pods = {"resources": {"limits": {"nvidia.com/gpu": str(tensor)}}} if device == "cuda" else {}
    spec = InferenceServiceSpec.model_validate(
        {"model": {"name": "m"}, "parallelism": {"tensor": tensor}, "pods": pods}
    )
    problem = service_problem(spec, architecture)
    return problem[0] if problem is not None else None


HEADS = st.sampled_from([1, 2, 3, 4, 6, 8, 12, 16])
WIDTHS = st.integers(1, 24)


@given(heads=HEADS, groups=st.sampled_from([1, 2, 3, 4]), width=WIDTHS, tensor=st.integers(1, 24))
def test_llama_is_split_as_the_engine_can(heads: int, groups: int, width: int, tensor: int) -> None:
    shared = heads // groups if heads % groups == 0 else heads
    config = LlamaConfig(
        num_attention_heads=heads, num_key_value_heads=shared, intermediate_size=width, hidden_size=heads * 8
    )
    assert operator_says(config, "LlamaForCausalLM", tensor) == engine_says(config, tensor)


@given(heads=HEADS, width=WIDTHS, expert=WIDTHS, tensor=st.integers(1, 24))
def test_deepseek_is_split_as_the_engine_can(heads: int, width: int, expert: int, tensor: int) -> None:
    config = DeepseekV3Config(
        num_attention_heads=heads, num_key_value_heads=heads, intermediate_size=width, moe_intermediate_size=expert
    )
    assert operator_says(config, "DeepseekV3ForCausalLM", tensor) == engine_says(config, tensor)


@given(heads=HEADS, width=st.integers(1, 200), expert=st.integers(1, 200), tensor=st.integers(1, 24))
def test_on_gpus_every_rank_needs_a_wide_enough_part(heads: int, width: int, expert: int, tensor: int) -> None:
    config = DeepseekV3Config(
        num_attention_heads=heads, num_key_value_heads=heads, intermediate_size=width, moe_intermediate_size=expert
    )
    said = operator_says(config, "DeepseekV3ForCausalLM", tensor, "cuda")
    assert said == engine_says(config, tensor, "cuda")
