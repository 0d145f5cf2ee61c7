"""Products of int8 weights on CPUs that multiply bytes (VNNI): a quarter of fp32's bytes to read, half of bf16's.

fbgemm's kernel wants activations in bytes. Where the model's are to be rounded to int8 (W8A8), a token is one row of
bytes. Where they are not (weight-only), a token becomes two rows, its high and its low byte, whose products are put
together again: 16 bits relative to the token's largest number, finer than bfloat16, and reading the weights once
for both is what counts at the few rows of a decode.
"""

import warnings
from typing import Any, Protocol

import torch

from deepseek_runtime.serve.matrix import Int8Matrix

_ZERO = 128
"""The kernel's activations are unsigned."""
_TINY = 1e-30
"""In place of a row's largest number where all are zero."""


def multiplies_int8(device: torch.device) -> bool:
    """Whether this machine does: without VNNI the kernel adds pairs of products in 16 bits, which overflow."""
    return (
        device.type == "cpu" and torch.backends.quantized.engine in ("x86", "fbgemm") and torch.cpu._is_vnni_supported()
    )


class Activations(Protocol):
    """Rows of numbers as the kernel takes them: multiples of `step`, of at most 127, on `rows` rows for each."""

    rows: int
    step: float

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """x (tokens, in) as (tokens * rows, in) in fp32, and the scale (tokens, 1) of each token."""
        ...

    def decode(self, products: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """(tokens * rows, out) as (tokens, out) in fp32."""
        ...


class RoundedActivations:
    """int8, symmetric, each token's largest number at 127: dynamic per-token quantization as vLLM's kernels do it."""

    rows = 1
    step = 1 / 127

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As Activations; the kernel rounds."""
        scale = _largest(x)
        return x / scale, scale

    def decode(self, products: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """As Activations."""
        return products.mul_(scale)


class SplitActivations:
    """A high byte, and what it leaves in a low byte of 1/254 the weight."""

    rows = 2
    step = 1.0

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As Activations."""
        scale = _largest(x).mul_(1 / 127)
        exact = x / scale
        high = exact.round()
        return torch.stack([high, exact.sub_(high).mul_(254)], 1).view(-1, x.shape[1]), scale

    def decode(self, products: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """As Activations."""
        high, low = products.view(len(scale), 2, -1).unbind(1)
        return torch.add(high, low, alpha=1 / 254).mul_(scale)


def activations(matrix: Int8Matrix) -> Activations:
    """What a matrix wants of its activations."""
    return RoundedActivations() if matrix.dynamic else SplitActivations()


class Int8Weight:
    """A matrix in fbgemm's layout; nothing else of it is kept."""

    def __init__(self, matrix: Int8Matrix, step: float) -> None:
        """`step`: of the activations."""
        self.step = step
        with warnings.catch_warnings():  # torch wants to build such tensors in another way one day; there is none yet
            warnings.simplefilter("ignore", UserWarning)
            scales = matrix.scale.flatten().double()
            zeros = torch.zeros(len(scales), dtype=torch.int64)
            weight = torch._make_per_channel_quantized_tensor(matrix.values.contiguous(), scales, zeros, 0)
            self.packed: Any = torch.ops.quantized.linear_prepack(weight, None)

    def __call__(self, encoded: torch.Tensor) -> torch.Tensor:
        """(rows, in) to (rows, out), fp32."""
        product = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
        return product(encoded, self.step, _ZERO, self.packed)  # type: ignore[no-any-return]


class Int8Linear:
    """x @ weight.T (+ bias, + add), as Linear."""

    def __init__(self, matrix: Int8Matrix, bias: torch.Tensor | None = None) -> None:
        self.activations = activations(matrix)
        self.weight = Int8Weight(matrix, self.activations.step)
        self.bias = bias

    def __call__(self, x: torch.Tensor, add: torch.Tensor | None = None) -> torch.Tensor:
        """(rows, in) to (rows, out), plus `add` of the result's shape."""
        encoded, scale = self.activations.encode(x)
        y = self.activations.decode(self.weight(encoded), scale)
        for term in (self.bias, add):
            if term is not None:
                y += term
        return y.to(x.dtype)


def _largest(x: torch.Tensor) -> torch.Tensor:
    return x.abs().amax(-1, keepdim=True).float().clamp_min_(_TINY)
