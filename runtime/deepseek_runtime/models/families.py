"""The architectures that this runtime makes, trains, quantizes and serves."""

from transformers import DeepseekV2ForCausalLM, DeepseekV3ForCausalLM, LlamaForCausalLM, PreTrainedModel

FAMILIES: dict[str, type[PreTrainedModel]] = {
    "DeepSeekV3": DeepseekV3ForCausalLM,
    "DeepSeekV2": DeepseekV2ForCausalLM,
    "Llama": LlamaForCausalLM,
}
"""From the name in a DeepSeekModel to transformers' class."""

CLASSES: dict[str, type[PreTrainedModel]] = {family.__name__: family for family in FAMILIES.values()}
"""From the name in config.json to transformers' class."""
