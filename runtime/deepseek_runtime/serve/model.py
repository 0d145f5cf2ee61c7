"""The forward pass of a decoder-only transformer over one flat batch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 torch's own convention

from deepseek_runtime.serve.batch import Batch
from deepseek_runtime.serve.cache import PagedCache
from deepseek_runtime.serve.layers.linear import Projection
from deepseek_runtime.serve.layers.mlp import ExpertsOnly, FeedForward
from deepseek_runtime.serve.layers.norm import RmsNorm
from deepseek_runtime.serve.layers.rotary import Rotary
from deepseek_runtime.serve.plan import Plan
from deepseek_runtime.serve.shard import Shard


class Attention(Protocol):
    """Attends within the batch and the cache: (tokens, hidden) to (tokens, this rank's heads * dim)."""

    @property
    def row(self) -> int:
        """Numbers in a cache row."""
        ...

    def __call__(self, x: torch.Tensor, batch: Batch, cache: PagedCache, layer: int) -> torch.Tensor:
        """Writes the batch's rows to the cache, then attends."""
        ...


@dataclass(frozen=True, slots=True)
class Layer:
    """Norm, attention, norm, feed-forward, each half with its residual."""

    attention_norm: RmsNorm
    attention: Attention
    output: Projection
    output_bias: torch.Tensor | None
    mlp_norm: RmsNorm
    mlp: FeedForward | ExpertsOnly


@dataclass(frozen=True, slots=True)
class Embedding:
    """Rows first..first+len(weight) of the vocabulary: every rank looks up its own and the sum is the whole."""

    weight: torch.Tensor
    first: int
    shard: Shard

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """(tokens) to (tokens, hidden)."""
        if self.shard.world == 1:
            return F.embedding(tokens, self.weight)
        local = tokens - self.first
        others = (local < 0) | (local >= len(self.weight))
        x = F.embedding(local.masked_fill(others, 0), self.weight)
        return self.shard.all_reduce(x.masked_fill_(others[:, None], 0.0))


@dataclass(frozen=True, slots=True)
class Transformer:
    """This rank's share of a model. `head` has ceil(vocabulary / ranks) rows, the last rank's padded."""

    embedding: Embedding
    layers: tuple[Layer, ...]
    norm: RmsNorm
    head: Projection
    vocab_size: int
    rotary: Rotary
    dtype: torch.dtype
    shard: Shard

    def make_cache(self, blocks: int) -> PagedCache:
        """An empty cache for this model."""
        row = self.layers[0].attention.row
        return PagedCache(len(self.layers), blocks, row, self.dtype, self.rotary.table.device)

    @torch.inference_mode()
    def forward(self, plan: Plan, cache: PagedCache, beat: Callable[[], None]) -> torch.Tensor:
        """Logits (emitting rows, vocabulary) in fp32; `beat` is called at every layer, a sign of life.

        Every rank must be given the same plans in the same order: the ranks meet in sums.
        """
        batch = Batch.of(plan, self.rotary.table, self.dtype)
        x = self.embedding(batch.tokens)
        for index, layer in enumerate(self.layers):
            beat()
            attended = layer.attention(layer.attention_norm(x), batch, cache, index)
            if index == len(self.layers) - 1:  # from here on each row is on its own: keep those that emit
                attended, x = attended[batch.emit], x[batch.emit]
                if not len(x):
                    return x.new_empty(0, self.vocab_size, dtype=torch.float32)
            x = self._project(layer, attended, x)
            x = layer.mlp(layer.mlp_norm(x), x)
        logits = self.shard.all_gather(self.head(self.norm(x)))
        return logits[:, : self.vocab_size].float()

    def _project(self, layer: Layer, attended: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        if self.shard.world > 1:
            x = self.shard.all_reduce(layer.output(attended)) + residual
        else:
            x = layer.output(attended, add=residual)
        return x if layer.output_bias is None else x + layer.output_bias
