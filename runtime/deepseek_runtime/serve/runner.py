"""One rank's model and cache: what every process of an engine sets up in the same way, and computes plans with."""

import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from deepseek_runtime.job import container
from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.serve.cache import BLOCK_SIZE, PagedCache
from deepseek_runtime.serve.model import Transformer
from deepseek_runtime.serve.plan import Plan
from deepseek_runtime.serve.shard import Shard
from deepseek_runtime.serve.weights import Beat, check_supported, choose_dtype, load
from deepseek_runtime.weights.load import load_config
from deepseek_runtime.wire.serve import ServeConfig


@dataclass(frozen=True, slots=True)
class Runner:
    """This rank's share of the weights and its cache."""

    model: Transformer
    cache: PagedCache

    def forward(self, plan: Plan, beat: Callable[[], None]) -> torch.Tensor:
        """Logits of the emitting rows; all ranks run the same plans."""
        return self.model.forward(plan, self.cache, beat)


def pick_device(rank: int, world: int) -> torch.device:
    """One GPU for each rank, or the CPU where there is none; ConfigurationError where there are too few."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if torch.cuda.device_count() < world:
        raise ConfigurationError(
            "InvalidConfig", f"{world} processes need a GPU each; the pod has {torch.cuda.device_count()}."
        )
    return torch.device("cuda", rank)


def context_length(config: ServeConfig) -> int:
    """Tokens of the longest prompt and answer; ConfigurationError `ContextTooLong` where the model has fewer."""
    model = load_config(config.model).max_position_embeddings
    if config.context_length is None:
        return int(min(model, config.cache_tokens))
    if config.context_length > min(model, config.cache_tokens):
        raise ConfigurationError(
            "ContextTooLong",
            f"A context of {config.context_length} tokens was asked for; the model has {model}, "
            f"the cache {config.cache_tokens}. Lower engine.contextLength or raise engine.cacheTokens.",
        )
    return config.context_length


def blocks(config: ServeConfig) -> int:
    """Cache blocks for `cache_tokens`, and the one that pads."""
    return -(-config.cache_tokens // BLOCK_SIZE) + 1


def check(config: ServeConfig) -> None:
    """Everything about a configuration that can be refused before weights are read; ConfigurationError, DataError."""
    device = pick_device(0, config.tensor_parallel)
    check_supported(load_config(config.model), config.tensor_parallel, device)
    choose_dtype(config.dtype, device)
    context_length(config)


def start(config: ServeConfig, shard: Shard, beat: Beat) -> Runner:
    """Load this rank's share; called on the thread that will compute, as torch's threads are a thread's own."""
    device = pick_device(shard.rank, shard.world)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, container.available() // shard.world))
    dtype = choose_dtype(config.dtype, device)
    model = load(Path(config.model), dtype, device, shard, context_length(config), beat)
    _give_back_freed_memory()
    return Runner(model, model.make_cache(blocks(config)))


def _give_back_freed_memory() -> None:
    """glibc keeps what reading and repacking weights has freed: 70 to 220 MB beside 450 of int8 weights."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
