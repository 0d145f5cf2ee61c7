"""What a finished model is: the facts that results and statuses show."""

from pathlib import Path

import torch

from deepseek_runtime.models.families import CLASSES
from deepseek_runtime.weights import safety
from deepseek_runtime.weights.load import load_config, stored_dtype
from deepseek_runtime.wire.manifest import Manifest
from deepseek_runtime.wire.result import Architecture, Artifact


def artifact(directory: Path, manifest: Manifest) -> Artifact:
    """The artifact in a directory with this manifest; `dtype` is int8 for quantized weights."""
    quantized = "quantization_config" in safety.read_json(directory / safety.CONFIG)
    return Artifact(
        digest=manifest.digest,
        bytes=manifest.size,
        files=len(manifest.files),
        dtype="int8" if quantized else str(stored_dtype(load_config(directory))).removeprefix("torch."),
        architecture=architecture(directory),
    )


def architecture(directory: Path) -> Architecture:
    """From config.json alone; the parameters are those of the model that it describes."""
    config = load_config(directory)
    name = (config.architectures or [""])[0]
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in CLASSES[name](config).parameters())
    return Architecture(
        name=name,
        parameters=parameters,
        layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        attention_heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads,
        routed_experts=getattr(config, "n_routed_experts", 0),
        moe_intermediate_size=getattr(config, "moe_intermediate_size", 0),
        vocab_size=config.vocab_size,
        context_length=config.max_position_embeddings,
    )
