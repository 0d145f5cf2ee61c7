"""Multi-head latent attention (arXiv:2405.04434) over a cache of latents.

A cache row is [latent | rotated key], shared by all heads. Decodes and short chunks stay in the latent space: the
query is multiplied into it (absorbed), so the context is never expanded to heads. Long chunks expand it once.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 torch's own convention

from deepseek_runtime.serve.batch import LATENT_PREFILL, Batch, Chunk
from deepseek_runtime.serve.cache import PagedCache
from deepseek_runtime.serve.layers.linear import Projection
from deepseek_runtime.serve.layers.norm import RmsNorm
from deepseek_runtime.serve.layers.rotary import Rotary


@dataclass(frozen=True, slots=True)
class LatentDimensions:
    """Per head: `nope` + `rope` of a query and key, `value`; `latent` is kv_lora_rank; `heads` are this rank's."""

    heads: int
    nope: int
    rope: int
    value: int
    latent: int


@dataclass(frozen=True, slots=True)
class Queries:
    """(tokens, heads, nope) and (tokens, heads, rope), the latter rotated."""

    nope: torch.Tensor
    rope: torch.Tensor


class LatentAttention:
    """One layer's attention without the output projection."""

    def __init__(
        self,
        *,
        down: Projection,
        query_up: tuple[RmsNorm, Projection] | None,
        latent_norm: RmsNorm,
        round_latent: Callable[[torch.Tensor], torch.Tensor] | None = None,
        up: torch.Tensor,
        dimensions: LatentDimensions,
        scale: float,
        rotary: Rotary,
    ) -> None:
        """`down` gives [query or its low-rank form | latent | rope key]; `up` (heads * (nope + value), latent).

        `round_latent` is for an `up` whose inputs are to be rounded: it may be absorbed, so the cache has them rounded.
        """
        self.down = down
        self.query_up = query_up
        self.latent_norm = latent_norm
        self.round_latent = round_latent
        self.up = up
        self.d = dimensions
        self.scale = scale
        self.rotary = rotary
        heads = up.view(dimensions.heads, -1, dimensions.latent)
        # Copies of their own: a bmm would copy a view at every call. On the CPU in fp32: a bf16 bmm there lays both
        # sides out anew at every call, which for a decode's few rows takes five times as long as the product.
        dtype = torch.float32 if up.device.type == "cpu" else up.dtype
        self.key_up = heads[:, : dimensions.nope].to(dtype).contiguous()  # (heads, nope, latent)
        self.value_up = heads[:, dimensions.nope :].transpose(1, 2).to(dtype).contiguous()  # (heads, latent, value)

    @property
    def row(self) -> int:
        """Numbers in a cache row."""
        return self.d.latent + self.d.rope

    def __call__(self, x: torch.Tensor, batch: Batch, cache: PagedCache, layer: int) -> torch.Tensor:
        """(tokens, hidden) to (tokens, heads * value); writes the batch's own rows first."""
        queries, rows = self._project(x, batch)
        cache.write(layer, batch.slots, rows)
        out = x.new_empty(len(x), self.d.heads, self.d.value)
        for bucket in batch.decodes:
            at = slice(bucket.first, bucket.last)
            self._latent(queries, at, cache.gather(layer, bucket.blocks), bucket.mask, out)
        for chunk in batch.chunks:
            at = slice(chunk.first, chunk.last)
            keys = rows[at] if chunk.context == 0 else cache.gather(layer, chunk.blocks)[0, : chunk.length]
            if chunk.mask is not None and chunk.last - chunk.first <= LATENT_PREFILL:
                self._latent(queries, at, keys[None], chunk.mask[None], out)
            else:
                out[at] = self._expanded(queries, at, keys, chunk)
        return out.view(len(x), -1)

    def _project(self, x: torch.Tensor, batch: Batch) -> tuple[Queries, torch.Tensor]:
        d = self.d
        query, latent, key = self.down(x).tensor_split([-self.row, -d.rope], -1)
        if self.query_up is not None:
            norm, up = self.query_up
            query = up(norm(query))
        query = query.reshape(len(x), d.heads, d.nope + d.rope)
        # The queries' and the one shared key's rotation in one call.
        to_rotate = torch.cat([query[..., d.nope :], key[:, None]], 1)
        rotated = self.rotary.rotate(to_rotate, batch.factors).to(self.up.dtype)
        latent = self.latent_norm(latent)
        if self.round_latent is not None:
            latent = self.round_latent(latent)
        rows = torch.cat([latent.to(rotated.dtype), rotated[:, -1]], -1)
        return Queries(query[..., : d.nope], rotated[:, :-1]), rows

    def _latent(self, q: Queries, at: slice, keys: torch.Tensor, mask: torch.Tensor, out: torch.Tensor) -> None:
        """keys (sequences, keys, row), mask (sequences, tokens of each, keys); fills out[at]."""
        sequences, heads = len(keys), self.d.heads
        absorbed = torch.bmm(q.nope[at].transpose(0, 1).to(self.key_up.dtype), self.key_up).transpose(0, 1)
        queries = torch.cat([absorbed.to(keys.dtype), q.rope[at]], -1).reshape(sequences, 1, -1, self.row)
        if mask.shape[1] > 1:
            mask = mask.repeat_interleave(heads, 1)
        # Values are the whole rows, of which the latent is kept: the CPU's kernel wants them as wide as the keys.
        rows = keys[:, None]
        attended = F.scaled_dot_product_attention(queries, rows, rows, attn_mask=mask[:, None], scale=self.scale)
        latent = attended.view(-1, heads, self.row)[..., : self.d.latent].transpose(0, 1)
        out[at] = torch.bmm(latent.to(self.value_up.dtype), self.value_up).transpose(0, 1)

    def _expanded(self, q: Queries, at: slice, keys: torch.Tensor, chunk: Chunk) -> torch.Tensor:
        d = self.d
        expanded = F.linear(keys[:, : d.latent], self.up).view(len(keys), d.heads, -1)
        rope = keys[:, None, d.latent :].expand(-1, d.heads, -1)
        key = torch.cat([expanded[..., : d.nope], rope], -1).transpose(0, 1)[None]
        value = expanded[..., d.nope :].transpose(0, 1)[None]
        query = torch.cat([q.nope[at].to(keys.dtype), q.rope[at]], -1).transpose(0, 1)[None]
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=chunk.mask, is_causal=chunk.mask is None, scale=self.scale
        )
        return attended[0].transpose(0, 1)
