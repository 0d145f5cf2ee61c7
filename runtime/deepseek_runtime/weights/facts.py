"""What a finished model is: the facts that results and statuses show, told without loading it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.quantize import declared
from deepseek_runtime.quantize.parts import BLOCKS
from deepseek_runtime.weights import safety
from deepseek_runtime.wire.architecture import FAMILIES, parameters
from deepseek_runtime.wire.attention import attention
from deepseek_runtime.wire.manifest import Manifest
from deepseek_runtime.wire.result import Architecture, Artifact


def artifact(directory: Path, manifest: Manifest) -> Artifact:
    """The artifact in a directory with this manifest."""
    config = safety.read_json(directory / safety.CONFIG)
    return Artifact(
        digest=manifest.digest,
        bytes=manifest.size,
        weight_bytes=_weight_bytes(directory, manifest),
        files=len(manifest.files),
        dtype=_dtype(config),
        architecture=architecture(directory),
    )


def completed(sealed: Artifact, directory: Path, manifest: Manifest) -> Artifact:
    """An artifact with the facts that an older runtime did not seal with it; they follow from what it did seal."""
    if sealed.weight_bytes or not (directory / safety.CONFIG).exists():
        return sealed
    described = sealed.architecture.model_copy(
        update={"attention": attention(safety.read_json(directory / safety.CONFIG))}
    )
    return sealed.model_copy(update={"architecture": described, "weight_bytes": _weight_bytes(directory, manifest)})


def _dtype(config: Mapping[str, Any]) -> str:
    """Of the numbers that most weights are stored in: int8, int4 or fp8 where they are quantized."""
    quantized = declared.scheme(config)
    if quantized is not None:
        return "fp8" if quantized == BLOCKS else quantized
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")


def architecture(directory: Path) -> Architecture:
    """From config.json alone; the parameters are those of the model that it describes.

    Errors: ConfigurationError `UnknownArchitecture`.
    """
    config = safety.read_json(directory / safety.CONFIG)
    name = (config.get("architectures") or ["none"])[0]
    if name not in FAMILIES:
        raise ConfigurationError(
            "UnknownArchitecture",
            f"{directory / safety.CONFIG} names the architecture {name}; this runtime has {', '.join(FAMILIES)}.",
        )
    return Architecture(
        name=name,
        parameters=parameters(FAMILIES[name], config, config["vocab_size"]),
        layers=config["num_hidden_layers"],
        hidden_size=config["hidden_size"],
        attention_heads=config["num_attention_heads"],
        key_value_heads=config["num_key_value_heads"],
        intermediate_size=config["intermediate_size"],
        routed_experts=config.get("n_routed_experts", 0),
        moe_intermediate_size=config.get("moe_intermediate_size", 0),
        vocab_size=config["vocab_size"],
        context_length=config["max_position_embeddings"],
        attention=attention(config),
    )


def _weight_bytes(directory: Path, manifest: Manifest) -> int:
    """Weights that lie beside those of the index are none of the model's."""
    named = {path.name for path in safety.weight_files(directory)}
    return sum(file.size for file in manifest.files if file.path in named)
