"""Routed experts: tokens sorted by expert, one pair of matrix products for each expert that was hit."""

from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 torch's own convention

from deepseek_runtime.serve.layers.bank import Bank
from deepseek_runtime.serve.layers.router import Router, Routes


def swiglu(x: torch.Tensor) -> torch.Tensor:
    """silu(gate) * up, of gate and up side by side."""
    gate, up = x.chunk(2, -1)
    return F.silu(gate) * up


class Experts(Protocol):
    """Maps tokens (n, hidden) to the weighted sum of their experts' outputs (this rank's share of it)."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Same shape."""
        ...


class PackedExperts:
    """For the CPU: reads only the experts that were hit, each through prepacked weights."""

    def __init__(self, router: Router, gate_up: Bank, down: Bank) -> None:
        """`gate_up` gives gate and up side by side; both banks hold all experts that the router knows."""
        self.router = router
        self.gate_up = gate_up
        self.down = down

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Same shape."""
        routes = self.router(x)
        return self._one(x, *routes) if len(x) == 1 else self._many(x, *routes)

    def _one(self, x: torch.Tensor, experts: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """A single token needs no sorting: at batch size one this is a quarter of the layer's time."""
        hits = [(expert, 1) for expert in experts[0].tolist()]
        hidden = swiglu(self.gate_up(x, hits))
        return (weights @ self.down(hidden, hits).float()).to(x.dtype)

    def _many(self, x: torch.Tensor, experts: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        tokens, k = experts.shape
        by_expert, order = experts.reshape(-1).sort(stable=True)
        counts = torch.bincount(by_expert).tolist()
        hits = [(e, count) for e, count in enumerate(counts) if count]
        outputs = self.down(swiglu(self.gate_up(x[order // k], hits)), hits)
        in_order = torch.empty_like(outputs).index_copy_(0, order, outputs).view(tokens, k, -1)
        return torch.bmm(weights[:, None], in_order.float())[:, 0].to(x.dtype)


class GroupedExperts:
    """For CUDA: one kernel for each projection, without waiting for the host."""

    def __init__(self, router: Router, experts: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """`experts`: gate and up in one (2 * intermediate, hidden), and down (hidden, intermediate)."""
        self.router = router
        self.gate_up = torch.stack([gate_up for gate_up, _ in experts]).transpose(1, 2)
        self.down = torch.stack([down for _, down in experts]).transpose(1, 2)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Same shape."""
        routes: Routes = self.router(x)
        experts, weights = routes
        k = experts.shape[1]
        by_expert, order = experts.reshape(-1).sort(stable=True)
        ends = torch.bincount(by_expert, minlength=len(self.down)).cumsum(0).to(torch.int32)
        hidden = F.grouped_mm(x[order // k], self.gate_up, offs=ends)
        outputs = F.grouped_mm(swiglu(hidden), self.down, offs=ends)
        return torch.zeros_like(x).index_add_(0, order // k, outputs * weights.reshape(-1)[order, None].to(x.dtype))
