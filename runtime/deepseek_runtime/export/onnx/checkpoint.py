"""The model as the transformers of Optimum's environment reads it: float32, its config in that one's words."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig, PreTrainedModel

from deepseek_runtime.job.errors import DataError
from deepseek_runtime.weights import safety
from deepseek_runtime.wire.architecture import DENSE

SCALINGS = ("default", "linear", "llama3", "yarn")
"""Ways to scale positions that are the same for every length: a graph cannot have others."""


def graph_bytes(config: PretrainedConfig, parameters: int) -> int:
    """Of the graph's weights: in float32, and tied embeddings twice, for the output layer has them transposed."""
    twice = config.vocab_size * config.hidden_size if config.tie_word_embeddings else 0
    return 4 * (parameters + twice)


def check(config: PretrainedConfig, size: int) -> None:
    """DataError `UnsupportedExport` for what an ONNX graph would compute otherwise, or could not hold."""
    name = (config.architectures or ["none"])[0]
    if name not in DENSE:
        raise unsupported(f"{name} is a mixture of experts; ONNX is for dense models. Take export.gguf for it.")
    scaling = config.rope_parameters.get("rope_type", "default")
    if scaling not in SCALINGS:
        raise unsupported(f"Positions are scaled by {scaling}; a graph has {', '.join(SCALINGS)}.")
    if size > LARGEST:
        raise unsupported(
            f"In float32 the graph's weights are {size:,} bytes, and one ONNX file holds less than 2 GiB. "
            "Take export.gguf."
        )


LARGEST = (1 << 31) - (64 << 20)
"""Bytes of weights: protocol buffers end at 2 GiB, and the graph needs room beside them."""


def unsupported(what: str) -> DataError:
    """`UnsupportedExport`."""
    return DataError("UnsupportedExport", f"{what} Nothing is exported that would answer differently.")


def write(model: PreTrainedModel, directory: Path) -> None:
    """Weights and config.json, nothing else."""
    model.save_pretrained(directory)
    config = translated(model.config.to_dict())
    (directory / safety.CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


def translated(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config of transformers 5 in the words of transformers 4, which has a default where it finds no rope_theta."""
    rope = dict(config["rope_parameters"])
    left_out = ("rope_parameters", "auto_map", "quantization_config", "transformers_version")
    kept = {name: value for name, value in config.items() if name not in left_out}
    theta, kind = rope.pop("rope_theta"), rope.pop("rope_type", "default")
    scaling = None if kind == "default" else {"rope_type": kind, **rope}
    return {**kept, "dtype": "float32", "rope_theta": theta, "rope_scaling": scaling}


def translated_tokenizer(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A tokenizer_config.json with the name that transformers 4 has for the class, and 5 still knows.

    There the class would also make token_type_ids, which a decoder's graph does not take.
    """
    if settings.get("tokenizer_class") != "TokenizersBackend":
        return dict(settings)
    inputs = {"model_input_names": ["input_ids", "attention_mask"]}
    return {**inputs, **settings, "tokenizer_class": "PreTrainedTokenizerFast"}
