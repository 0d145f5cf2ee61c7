"""The paged cache: what attention must know of earlier tokens, in blocks that any sequence can own."""

import torch

BLOCK_SIZE = 16
"""Tokens in a block; a sequence wastes at most 15 slots."""


class PagedCache:
    """One tensor (slots, row) for each layer; slot = block * BLOCK_SIZE + offset. Block 0 pads block tables.

    A row is the latent and the rotated key (MLA: kv_lora_rank + qk_rope_head_dim numbers, the same on every rank), or
    this rank's keys and values (2 * kv heads * head dim).
    """

    def __init__(self, layers: int, blocks: int, row: int, dtype: torch.dtype, device: torch.device) -> None:
        self.row = row
        self.layers = [torch.zeros(blocks * BLOCK_SIZE, row, dtype=dtype, device=device) for _ in range(layers)]

    @property
    def dtype(self) -> torch.dtype:
        """Of its rows."""
        return self.layers[0].dtype

    @property
    def bytes_per_token(self) -> int:
        """Of one slot, over all layers."""
        return sum(layer.shape[1] * layer.element_size() for layer in self.layers)

    def write(self, layer: int, slots: torch.Tensor, entries: torch.Tensor) -> None:
        """Put entries (tokens, row) into slots (tokens)."""
        self.layers[layer].index_copy_(0, slots, entries)

    def gather(self, layer: int, blocks: torch.Tensor) -> torch.Tensor:
        """Whole blocks (sequences, n) as (sequences, n * BLOCK_SIZE, row)."""
        pages = self.layers[layer].view(-1, BLOCK_SIZE * self.row)
        return pages.index_select(0, blocks.reshape(-1)).view(len(blocks), -1, self.row)
