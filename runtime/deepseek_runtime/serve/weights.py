"""From a sealed model's directory to this rank's share of the model, laid out for its machine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig

from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.models.families import CLASSES
from deepseek_runtime.serve.attention.mha import MultiHeadAttention
from deepseek_runtime.serve.attention.mla import LatentAttention, LatentDimensions
from deepseek_runtime.serve.checkpoint import Checkpoint
from deepseek_runtime.serve.layers.bank import bank
from deepseek_runtime.serve.layers.experts import GroupedExperts, PackedExperts
from deepseek_runtime.serve.layers.int8 import int8_linear
from deepseek_runtime.serve.layers.linear import Linear, Projection
from deepseek_runtime.serve.layers.mlp import ExpertsOnly, FeedForward
from deepseek_runtime.serve.layers.norm import RmsNorm
from deepseek_runtime.serve.layers.rotary import Rotary
from deepseek_runtime.serve.layers.router import AlsoShared, Router, SigmoidRouter, SoftmaxRouter
from deepseek_runtime.serve.matrix import Int8Matrix, Matrix, alike, stack
from deepseek_runtime.serve.model import Attention, Embedding, Layer, Transformer
from deepseek_runtime.serve.shard import Shard
from deepseek_runtime.weights.load import load_config

GROUPED_MM_ALIGNMENT = 8
"""grouped_mm wants rows of a multiple of 16 bytes: 8 numbers of bfloat16."""

Beat = Callable[[int, int], None]
"""Told how many layers are loaded, of how many."""


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto`: bfloat16 where the machine multiplies it, else float32. Errors: ConfigurationError `InvalidConfig`."""
    known = {"bfloat16": torch.bfloat16, "float32": torch.float32}
    if name == "auto":
        native = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if native else torch.float32
    if name not in known:
        raise ConfigurationError("InvalidConfig", f"dtype is {name!r}; it must be auto, {' or '.join(known)}.")
    return known[name]


def check_supported(config: PretrainedConfig, world: int, device: torch.device) -> None:
    """ConfigurationError where the model cannot be computed, or not by `world` processes.

    Reasons: `InvalidConfig`, `HeadsNotDivisible`, `LayersTooNarrow`.
    """
    heads = config.num_attention_heads
    kv_heads = heads if _is_mla(config) else config.num_key_value_heads
    if heads % world or (kv_heads % world and world % kv_heads):
        possible = [n for n in range(1, heads + 1) if heads % n == 0 and (kv_heads % n == 0 or n % kv_heads == 0)]
        raise ConfigurationError(
            "HeadsNotDivisible",
            f"{heads} attention heads ({kv_heads} of keys and values) cannot be split over {world} processes. "
            f"Set tensor parallelism to one of {', '.join(map(str, possible))}.",
        )
    if getattr(config, "mlp_bias", False):
        raise ConfigurationError("InvalidConfig", "The model has mlp_bias, which the builtin engine does not compute.")
    sizes = [config.intermediate_size, getattr(config, "moe_intermediate_size", None) or config.intermediate_size]
    unit = GROUPED_MM_ALIGNMENT if device.type == "cuda" else 1
    if min(sizes) < world * unit:
        raise ConfigurationError(
            "LayersTooNarrow",
            f"An intermediate size of {min(sizes)} cannot be split over {world} processes; "
            f"use at most {min(sizes) // unit}.",
        )


def load(
    directory: Path, dtype: torch.dtype, device: torch.device, shard: Shard, positions: int, beat: Beat
) -> Transformer:
    """Read this rank's share of the weights; `positions` bounds the rotary table.

    Memory: the share, and one tensor. Errors: DataError, ConfigurationError, as Checkpoint and load_config.
    """
    config = load_config(directory)
    with Checkpoint(directory, dtype, device) as checkpoint:
        try:
            return _Loader(config, checkpoint, shard, positions).load(beat)
        except (RuntimeError, IndexError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise DataError(
                "ShapeMismatch",
                f"The weights in {directory} do not fit its config.json: {error}. Put together the files of one model.",
            ) from error


def _is_mla(config: Any) -> bool:
    return getattr(config, "kv_lora_rank", None) is not None


class _Loader:
    def __init__(self, config: Any, checkpoint: Checkpoint, shard: Shard, positions: int) -> None:
        self.config = config
        self.checkpoint = checkpoint
        self.shard = shard
        reference = _reference(config)
        self.scale: float = reference.layers[0].self_attn.scaling
        # transformers' DeepSeek norms of low-rank projections have an epsilon of their own, not rms_norm_eps.
        norm = getattr(reference.layers[0].self_attn, "kv_a_layernorm", None)
        self.latent_epsilon: float = config.rms_norm_eps if norm is None else norm.variance_epsilon
        interleaved = _is_mla(config) and getattr(config, "rope_interleave", True)
        self.rotary = Rotary.of(type(reference.rotary_emb)(config), positions, interleaved, checkpoint.device)

    def load(self, beat: Beat) -> Transformer:
        read, vocab, count = self.checkpoint.read, self.config.vocab_size, self.config.num_hidden_layers
        rows = -(-vocab // self.shard.world)
        part = (min(vocab, rows * self.shard.rank), min(vocab, rows * (self.shard.rank + 1)))
        embedding = read("model.embed_tokens.weight", rows=part)
        tied = self.config.tie_word_embeddings
        head = embedding if tied else read("lm_head.weight", rows=part)
        padding = head.new_zeros(rows - len(head), head.shape[1])
        layers = []
        for index in range(count):
            beat(index, count)
            layers.append(self._layer(f"model.layers.{index}", index))
        beat(count, count)
        return Transformer(
            embedding=Embedding(embedding, part[0], self.shard),
            layers=tuple(layers),
            norm=self._norm("model.norm"),
            head=Linear(torch.cat([head, padding])),
            vocab_size=vocab,
            rotary=self.rotary,
            dtype=self.checkpoint.dtype,
            shard=self.shard,
        )

    def _layer(self, at: str, index: int) -> Layer:
        attention = self._latent(f"{at}.self_attn") if _is_mla(self.config) else self._multi_head(f"{at}.self_attn")
        heads = self._heads(self.config.num_attention_heads)
        value = self.config.v_head_dim if _is_mla(self.config) else self.config.head_dim
        columns = (heads[0] * value, heads[1] * value)
        return Layer(
            attention_norm=self._norm(f"{at}.input_layernorm"),
            attention=attention,
            output=_project(self.checkpoint.matrix(f"{at}.self_attn.o_proj.weight", columns=columns)),
            output_bias=self._bias(f"{at}.self_attn.o_proj"),
            mlp_norm=self._norm(f"{at}.post_attention_layernorm"),
            mlp=self._feed_forward(f"{at}.mlp", index),
        )

    def _latent(self, at: str) -> Attention:
        c, matrix = self.config, self.checkpoint.matrix
        first, last = self._heads(c.num_attention_heads)
        query_rows = (
            first * (c.qk_nope_head_dim + c.qk_rope_head_dim),
            last * (c.qk_nope_head_dim + c.qk_rope_head_dim),
        )
        query_up = None
        if c.q_lora_rank is None:
            query, query_bias = matrix(f"{at}.q_proj.weight", rows=query_rows), None
        else:
            query, query_bias = matrix(f"{at}.q_a_proj.weight"), self._bias(f"{at}.q_a_proj")
            up = _project(matrix(f"{at}.q_b_proj.weight", rows=query_rows))
            query_up = (self._norm(f"{at}.q_a_layernorm", self.latent_epsilon), up)
        latent, latent_bias = matrix(f"{at}.kv_a_proj_with_mqa.weight"), self._bias(f"{at}.kv_a_proj_with_mqa")
        bias = None
        if latent_bias is not None:
            without = latent_bias.new_zeros(query_rows[1] - query_rows[0])
            bias = torch.cat([without if query_bias is None else query_bias, latent_bias])
        size = c.qk_nope_head_dim + c.v_head_dim
        return LatentAttention(
            down=_project(self._stack([query, latent]), bias),
            query_up=query_up,
            latent_norm=self._norm(f"{at}.kv_a_layernorm", self.latent_epsilon),
            round_latent=self.checkpoint.rounding(f"{at}.kv_b_proj"),
            up=self.checkpoint.read(f"{at}.kv_b_proj.weight", rows=(first * size, last * size)),
            dimensions=LatentDimensions(
                last - first, c.qk_nope_head_dim, c.qk_rope_head_dim, c.v_head_dim, c.kv_lora_rank
            ),
            scale=self.scale,
            rotary=self.rotary,
        )

    def _multi_head(self, at: str) -> Attention:
        c = self.config
        heads, kv_heads = self._heads(c.num_attention_heads), self._heads(c.num_key_value_heads)
        parts = [("q_proj", heads), ("k_proj", kv_heads), ("v_proj", kv_heads)]
        ranges = [(f"{at}.{name}", (first * c.head_dim, last * c.head_dim)) for name, (first, last) in parts]
        weight = self._stack([self.checkpoint.matrix(f"{name}.weight", rows=rows) for name, rows in ranges])
        biases = [bias for name, rows in ranges if (bias := self._bias(name, rows)) is not None]
        return MultiHeadAttention(
            project=_project(weight, torch.cat(biases) if biases else None),
            heads=heads[1] - heads[0],
            kv_heads=kv_heads[1] - kv_heads[0],
            head_dim=c.head_dim,
            scale=self.scale,
            rotary=self.rotary,
        )

    def _feed_forward(self, at: str, index: int) -> FeedForward | ExpertsOnly:
        c = self.config
        if index >= getattr(c, "first_k_dense_replace", c.num_hidden_layers):
            return self._mixture(at)
        gate_up, down = self._gated(at, c.intermediate_size)
        return FeedForward(_project(gate_up), _project(down), None, self.shard)

    def _mixture(self, at: str) -> FeedForward | ExpertsOnly:
        c, router = self.config, self._router(f"{at}.gate")
        routed: list[Any] = [
            self._gated(f"{at}.experts.{e}", c.moe_intermediate_size) for e in range(c.n_routed_experts)
        ]
        shared = self._gated(f"{at}.shared_experts", c.moe_intermediate_size * c.n_shared_experts)
        on_gpu = self.checkpoint.device.type == "cuda"
        if not on_gpu and c.n_shared_experts == 1 and all(map(alike, zip(*routed, shared, strict=True))):
            # At the few rows of a decode one more expert takes less time than a layer of its own.
            return ExpertsOnly(self._packed(AlsoShared(router, shared=len(routed)), [*routed, shared]), self.shard)
        experts = GroupedExperts(router, routed) if on_gpu else self._packed(router, routed)
        return FeedForward(_project(shared[0]), _project(shared[1]), experts, self.shard)

    def _packed(self, router: Router, experts: list[Any]) -> PackedExperts:
        gate_up, down = zip(*experts, strict=True)
        return PackedExperts(router, bank(gate_up, self.checkpoint.dtype), bank(down, self.checkpoint.dtype))

    def _gated(self, at: str, size: int) -> tuple[Matrix, Matrix]:
        matrix, part = self.checkpoint.matrix, self.shard.bounds(size)
        gate_up = self._stack([matrix(f"{at}.{name}.weight", rows=part) for name in ("gate_proj", "up_proj")])
        return gate_up, matrix(f"{at}.down_proj.weight", columns=part)

    def _stack(self, parts: list[Matrix]) -> Matrix:
        return stack(parts, self.checkpoint.dtype)

    def _router(self, at: str) -> Router:
        weight = self.checkpoint.read(f"{at}.weight", dtype=torch.float32)
        if self.config.model_type == "deepseek_v2":
            return SoftmaxRouter(weight, self.config)
        bias = self.checkpoint.read(f"{at}.e_score_correction_bias", dtype=torch.float32)
        return SigmoidRouter(weight, bias, self.config)

    def _heads(self, count: int) -> tuple[int, int]:
        """This rank's heads; several ranks hold the same one where there are fewer heads than ranks."""
        first = count * self.shard.rank // self.shard.world
        return first, first + max(1, count // self.shard.world)

    def _norm(self, at: str, epsilon: float | None = None) -> RmsNorm:
        weight = self.checkpoint.read(f"{at}.weight")
        return RmsNorm(weight, self.config.rms_norm_eps if epsilon is None else epsilon)

    def _bias(self, at: str, rows: tuple[int, int] | None = None) -> torch.Tensor | None:
        return self.checkpoint.read(f"{at}.bias", rows=rows) if f"{at}.bias" in self.checkpoint else None


def _reference(config: PretrainedConfig) -> Any:
    """transformers' own model with one layer and no memory: asked for what it derives from the configuration."""
    small = type(config).from_dict(config.to_dict())
    small.num_hidden_layers = 1
    with torch.device("meta"):
        model: Any = CLASSES[(config.architectures or [""])[0]](small)
    return model.model


def _project(matrix: Matrix, bias: torch.Tensor | None = None) -> Projection:
    return int8_linear(matrix, bias) if isinstance(matrix, Int8Matrix) else Linear(matrix, bias)
