"""Multi-head attention with grouped queries (arXiv:2305.13245) over a cache of keys and values."""

import torch
import torch.nn.functional as F  # noqa: N812 torch's own convention

from deepseek_runtime.serve.batch import Batch
from deepseek_runtime.serve.cache import PagedCache
from deepseek_runtime.serve.layers.linear import Projection
from deepseek_runtime.serve.layers.rotary import Rotary


class MultiHeadAttention:
    """One layer's attention without the output projection; a cache row is [keys | values] of this rank's kv heads."""

    def __init__(
        self, *, project: Projection, heads: int, kv_heads: int, head_dim: int, scale: float, rotary: Rotary
    ) -> None:
        """`project` gives [queries | keys | values] of this rank's heads."""
        self.project = project
        self.heads = heads
        self.kv_heads = kv_heads
        self.head_dim = head_dim
        self.scale = scale
        self.rotary = rotary

    @property
    def row(self) -> int:
        """Numbers in a cache row."""
        return 2 * self.kv_heads * self.head_dim

    def __call__(self, x: torch.Tensor, batch: Batch, cache: PagedCache, layer: int) -> torch.Tensor:
        """(tokens, hidden) to (tokens, heads * head_dim); writes the batch's own rows first."""
        heads, kv_heads, dim = self.heads, self.kv_heads, self.head_dim
        projected = self.project(x).to(cache.dtype).view(len(x), -1, dim)
        rotated = self.rotary.rotate(projected[:, : heads + kv_heads], batch.factors)
        query = rotated[:, :heads]
        rows = torch.cat([rotated[:, heads:], projected[:, heads + kv_heads :]], 1).view(len(x), -1)
        cache.write(layer, batch.slots, rows)
        out = x.new_empty(len(x), heads, dim)
        for bucket in batch.decodes:
            count = bucket.last - bucket.first
            kv = cache.gather(layer, bucket.blocks).view(count, -1, 2 * kv_heads, dim).transpose(1, 2)
            # The group is the query dimension: keys and values are never repeated.
            grouped = query[bucket.first : bucket.last].view(count, kv_heads, -1, dim)
            attended = F.scaled_dot_product_attention(
                grouped, kv[:, :kv_heads], kv[:, kv_heads:], attn_mask=bucket.mask[:, None], scale=self.scale
            )
            out[bucket.first : bucket.last] = attended.reshape(count, heads, dim)
        for chunk in batch.chunks:
            at = slice(chunk.first, chunk.last)
            seen = rows[at] if chunk.context == 0 else cache.gather(layer, chunk.blocks)[0, : chunk.length]
            kv = seen.view(1, -1, 2 * kv_heads, dim).transpose(1, 2)
            attended = F.scaled_dot_product_attention(
                query[at].transpose(0, 1)[None],
                kv[:, :kv_heads],
                kv[:, kv_heads:],
                attn_mask=chunk.mask,
                is_causal=chunk.mask is None,
                scale=self.scale,
                enable_gqa=heads != kv_heads,
            )
            out[at] = attended[0].transpose(0, 1)
        return out.view(len(x), -1)
