"""GPTQ: rounding that makes up for its own error (Frantar et al. 2022, arXiv 2210.17323).

Columns are rounded one after the other, those that the inputs weigh most first; what rounding a column loses is made
up for in the columns that are still to come. Scales are those of rounding to nearest, fixed before any column moves,
so that the order of the columns leaves no trace in the format.
"""

import torch

DAMPING = 0.01
"""Share of the Hessian's mean diagonal that is added to it: the paper's."""
STEEPER = (1, 10, 100)
"""By how much damping grows where a Hessian of few tokens is too near to a singular one."""
BLOCK = 128
"""Columns that are worked off before the rest is brought up to date."""


def hessian(inputs: torch.Tensor) -> torch.Tensor:
    """The second derivative of the layer's squared error, but for a factor: (in, in) float32 of inputs (n, in)."""
    rows = inputs.reshape(-1, inputs.shape[-1]).float()
    return rows.T @ rows


def quantize(
    weight: torch.Tensor, hessian: torch.Tensor, scale: torch.Tensor, lowest: int, largest: int
) -> torch.Tensor | None:
    """Integer levels (out, in) int8 of a weight (out, in), each times its scale near the weight.

    `scale` is (out, groups): of groups of ceil(in / groups) neighbouring columns. None where the Hessian cannot be
    inverted: then rounding to nearest is left.
    """
    columns = weight.shape[1]
    diagonal = hessian.diagonal()
    order = torch.argsort(diagonal, descending=True, stable=True)
    inverse = _inverse_factor(hessian[order][:, order])
    if inverse is None:
        return None
    steps = scale.float().repeat_interleave(-(-columns // scale.shape[1]), dim=1)[:, :columns][:, order]
    remaining = weight.float()[:, order]
    levels = torch.empty_like(remaining)
    for begin in range(0, columns, BLOCK):
        end = min(begin + BLOCK, columns)
        errors = torch.empty_like(remaining[:, begin:end])
        for column in range(begin, end):
            value, step = remaining[:, column], steps[:, column]
            levels[:, column] = (value / step).round_().clamp_(lowest, largest)
            error = (value - levels[:, column] * step) / inverse[column, column]
            remaining[:, column:end] -= error[:, None] * inverse[column, column:end]
            errors[:, column - begin] = error
        remaining[:, end:] -= errors @ inverse[begin:end, end:]
    return levels[:, torch.argsort(order)].to(torch.int8)


def _inverse_factor(hessian: torch.Tensor) -> torch.Tensor | None:
    """The upper Cholesky factor of the inverse of the damped Hessian.

    A column that no input ever moved has a diagonal of nothing but damping: it is rounded to nearest.
    """
    mean = hessian.diagonal().mean()
    if not bool(torch.isfinite(mean)) or not mean > 0:
        return None
    identity = torch.eye(len(hessian), device=hessian.device)
    for factor in STEEPER:
        lower, failed = torch.linalg.cholesky_ex(hessian + identity * (DAMPING * factor * mean))
        if failed:
            continue
        upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
        if not failed and bool(torch.isfinite(upper).all()):
            factor_of_inverse: torch.Tensor = upper
            return factor_of_inverse
    return None
