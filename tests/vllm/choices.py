"""Runs in vLLM's own environment: what vLLM makes of every layer of models in some directories, as JSON in a file.

It imports nothing of this project. The models are built as vLLM builds them, without their weights and without a GPU:
vLLM's configuration is asked for the method of each layer, and the layer is built without one, because kernels are a
matter of the machine. Which kernel would compute is therefore not asked, neither for linear layers nor for experts.
"""

import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from vllm.config import DeviceConfig, ModelConfig, VllmConfig, set_current_vllm_config
from vllm.distributed import destroy_model_parallel, init_distributed_environment, initialize_model_parallel
from vllm.model_executor.layers.fused_moe import RoutedExperts, UnquantizedFusedMoEMethod
from vllm.model_executor.layers.fused_moe.oracle.int_wna16 import WNA16MoEBackend
from vllm.model_executor.layers.linear import LinearBase, UnquantizedLinearMethod
from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding
from vllm.model_executor.model_loader.utils import initialize_model

QUANTIZATION = "vllm.model_executor.layers.quantization"
EXPERTS = f"{QUANTIZATION}.compressed_tensors.compressed_tensors_moe.compressed_tensors_moe"
KERNEL_CHOICES = {
    f"{EXPERTS}_wna16.select_wna16_moe_backend": WNA16MoEBackend.MARLIN,
    f"{EXPERTS}_w8a8_fp8.select_fp8_moe_backend": None,
    f"{EXPERTS}_w8a8_int8.select_int8_moe_backend": None,
    f"{QUANTIZATION}.fp8.select_fp8_moe_backend": None,
}
"""What asks the GPU, and what is answered for it: Marlin, for experts of packed integers, is the kernel of NVIDIA's."""


def described(layer: torch.nn.Module, method: Any) -> dict[str, Any] | None:
    """The method's name and what it was made with; None for a layer that stays as it is."""
    if method is None or isinstance(method, UnquantizedLinearMethod | UnquantizedFusedMoEMethod):
        return None
    scheme = layer.__dict__.pop("scheme", method)
    told = {key: value for key, value in vars(scheme).items() if isinstance(value, str | int | bool | list)}
    for part in ("weight_quant", "input_quant"):
        if (arguments := getattr(scheme, part, None)) is not None:
            told[part] = json.loads(arguments.model_dump_json(exclude_none=True))
    return {"class": type(scheme).__name__, **told}


def choices(directory: str) -> dict[str, Any]:
    """By the name that vLLM gives the layer; `error`: what it says where it takes the model not at all."""
    config = VllmConfig(
        model_config=ModelConfig(model=directory, skip_tokenizer_init=True, dtype="bfloat16", enforce_eager=True),
        device_config=DeviceConfig("cpu"),
    )
    found: dict[str, Any] = {}
    ask = config.quant_config.get_quant_method

    def asked(layer: torch.nn.Module, prefix: str) -> Any:
        answer = ask(layer, prefix)
        if isinstance(layer, LinearBase):
            found[prefix] = described(layer, answer)
            return UnquantizedLinearMethod()
        if isinstance(layer, RoutedExperts):
            found[prefix] = described(layer, answer)
            return UnquantizedFusedMoEMethod(layer.moe_config)
        if isinstance(layer, VocabParallelEmbedding):
            found[prefix] = described(layer, answer)
        return None

    config.quant_config.get_quant_method = asked
    with set_current_vllm_config(config), ExitStack() as kernels:
        for name, backend in KERNEL_CHOICES.items():
            kernels.enter_context(mock.patch(name, return_value=(backend, None)))
        if not torch.distributed.is_initialized():
            init_distributed_environment(1, 0, f"file://{tempfile.mkdtemp()}/store", 0, "gloo")
        initialize_model_parallel(1)
        try:
            initialize_model(vllm_config=config)
        except (ValueError, RuntimeError) as error:
            return {"parser": type(config.quant_config).__name__, "error": f"{type(error).__name__}: {error}"}
        finally:
            destroy_model_parallel()
    return {"parser": type(config.quant_config).__name__, "layers": found}


Path(sys.argv[1]).write_text(json.dumps([choices(directory) for directory in sys.argv[2:]]), "utf-8")
