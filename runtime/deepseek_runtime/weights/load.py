"""Weights as plain tensors, from plain and from quantized directories alike."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.models.families import CLASSES
from deepseek_runtime.models.router import install
from deepseek_runtime.weights import safety
from deepseek_runtime.weights.stored import StoredWeights

KEPT_IN_FLOAT32 = ("e_score_correction_bias",)
"""Router biases: differences between experts are smaller than the steps of bfloat16."""


def load_state(directory: str | Path, dtype: torch.dtype | None = None) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of a model under the name that an unquantized checkpoint has for it; experts are one by one.

    Floating-point tensors come in `dtype` (None: as stored, a quantized weight in its scale's dtype). One tensor is in
    memory at a time. Errors: DataError naming the file or tensor.
    """
    with StoredWeights(Path(directory)) as stored:
        for name in stored:
            if name.endswith(KEPT_IN_FLOAT32):
                yield name, stored.read(name)
                continue
            tensor = stored.read(name, dtype=dtype)
            yield name, tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor


def load_config(directory: str | Path) -> PretrainedConfig:
    """The configuration of a model whose weights `load_state` gives: as it was before quantization.

    Errors: ConfigurationError `UnknownArchitecture`, DataError for a config.json that does not make sense.
    """
    path = Path(directory) / safety.CONFIG
    names = safety.read_json(path).get("architectures") or ["none"]
    if names[0] not in CLASSES:
        raise ConfigurationError(
            "UnknownArchitecture", f"{path} names the architecture {names[0]}; this runtime has {', '.join(CLASSES)}."
        )
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise DataError("BadFile", f"{path} is no configuration of {names[0]}: {error}") from error
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    return config


def load_model(directory: str | Path, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """A transformers model in evaluation mode with the weights of a plain or quantized directory, on the CPU.

    Errors: as `load_state` and `load_config`; DataError `BadWeights` where tensors are missing or unknown,
    `ShapeMismatch` where they are misshapen.
    """
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    config = load_config(directory)
    dtype = dtype or stored_dtype(config)
    family = CLASSES[(config.architectures or [""])[0]]
    try:
        loaded: Any = family.from_pretrained(
            None,
            config=config,
            state_dict=dict(load_state(directory, dtype)),
            dtype=dtype,
            experts_implementation=experts_implementation(config),
            output_loading_info=True,
        )
    except RuntimeError as error:
        raise DataError(
            "ShapeMismatch",
            f"The weights in {directory} do not fit its config.json: {error}. Put together the files of one model.",
        ) from error
    model: PreTrainedModel = loaded[0]
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if loaded[1][what]:
            names = ", ".join(sorted(map(str, loaded[1][what]))[:3])
            raise DataError(
                "ShapeMismatch" if what == "mismatched_keys" else "BadWeights",
                f"The weights in {directory} do not fit its config.json: {what.replace('_', ' ')} {names}. "
                "Put together the files of one model.",
            )
    install(model)
    model.train(False)
    return model


def experts_implementation(config: PretrainedConfig) -> str | None:
    """How transformers computes routed experts: None is its default, a grouped product.

    That wants rows of whole 16 bytes, eight numbers of bfloat16; experts of other sizes are computed one by one.
    """
    sizes = (config.hidden_size, getattr(config, "moe_intermediate_size", 8))
    return None if all(size % 8 == 0 for size in sizes) else "eager"


def stored_dtype(config: PretrainedConfig) -> torch.dtype:
    """The dtype that config.json names, float32 where it names none."""
    return config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32
