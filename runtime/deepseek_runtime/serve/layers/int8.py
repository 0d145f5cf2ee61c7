"""Products of int8 weights on CPUs that multiply bytes (VNNI): a quarter of fp32's bytes to read, half of bf16's.

fbgemm's kernel wants activations in bytes. Where the model's are to be rounded to int8 (W8A8), a token is one row of
bytes, by a scale of its own or by one that calibration has fixed. Where they are not (weight-only), a token becomes two
rows, its high and its low byte, whose products are put together again: 16 bits relative to the token's largest number,
finer than bfloat16, and reading the weights once for both is what counts at the few rows of a decode.

Products stay in fp32, as the kernel gives them: to round what the next layer turns into fp32 again would cost time.
"""

import warnings
from typing import Any, Protocol

import torch

from deepseek_runtime.quantize.activations import LARGEST
from deepseek_runtime.serve.layers.linear import Projection
from deepseek_runtime.serve.matrix import Int8Matrix

_ZERO = 128
"""The kernel's activations are unsigned."""
_TINY = 1e-30
"""In place of a row's largest number where all are zero."""
_PRODUCT = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32.default


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
        """(tokens * rows, out) as (tokens, out) in fp32; one scale is that of all tokens."""
        ...


class RoundedActivations:
    """int8, symmetric, each token's largest number at 127: dynamic per-token quantization as vLLM's kernels do it."""

    rows = 1
    step = 1 / 127

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As Activations; the kernel rounds."""
        exact = x.float()
        scale = _largest(exact)
        return exact / scale, scale

    def decode(self, products: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """As Activations."""
        return products.mul_(scale)


class SplitActivations:
    """A high byte, and what it leaves in a low byte of 1/254 the weight."""

    rows = 2
    step = 1.0

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As Activations."""
        exact = x.float()
        scale = _largest(exact).mul_(1 / 127)
        exact = exact / scale
        high = exact.round()
        return torch.stack([high, exact.sub_(high).mul_(254)], 1).view(-1, x.shape[1]), scale

    def decode(self, products: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """As Activations."""
        high, low = products.view(-1, 2, products.shape[1]).unbind(1)
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
        return _PRODUCT(encoded, self.step, _ZERO, self.packed)  # type: ignore[no-any-return]


class Int8Linear:
    """x @ weight.T (+ bias, + add), as Linear; what a token becomes depends on its own largest number."""

    def __init__(self, matrix: Int8Matrix, bias: torch.Tensor | None = None) -> None:
        self.activations = activations(matrix)
        self.weight = Int8Weight(matrix, self.activations.step)
        self.bias = bias

    def __call__(self, x: torch.Tensor, add: torch.Tensor | None = None) -> torch.Tensor:
        """(rows, in) to (rows, out), plus `add` of the result's shape."""
        encoded, scale = self.activations.encode(x)
        y = self.activations.decode(self.weight(encoded), scale)
        return _plus(y, self.bias, add)


class StaticInt8Linear:
    """As Int8Linear, with inputs rounded by fixed scales as `quantize.activations.by_scale` does: evaluation saw that.

    Layers that share their inputs share their scale where calibration was done here, and are one product. Where a
    checkpoint gives them several, each is multiplied by itself: the largest of the scales would be other rounding.
    """

    def __init__(self, matrix: Int8Matrix, input_scale: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        scales, heights = torch.unique_consecutive(input_scale, return_counts=True)
        self.scales: list[float] = scales.tolist()
        first = 0
        self.weights = []
        for scale, height in zip(self.scales, heights.tolist(), strict=True):
            rows = slice(first, first := first + height)
            # The inputs' scale goes into the weight's: products come out as they are to be.
            part = Int8Matrix(matrix.values[rows], matrix.scale[rows].double() * scale, dynamic=False)
            self.weights.append(Int8Weight(part, step=1.0))
        self.bias = bias

    def __call__(self, x: torch.Tensor, add: torch.Tensor | None = None) -> torch.Tensor:
        """(rows, in) to (rows, out), plus `add` of the result's shape."""
        exact = x.float()
        parts = [
            # The kernel rounds too, but down to -128, and what is just below a half upwards: it adds 128 first.
            weight((exact / scale).round_().clamp_(-LARGEST, LARGEST))
            for scale, weight in zip(self.scales, self.weights, strict=True)
        ]
        y = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
        return _plus(y, self.bias, add)


def int8_linear(matrix: Int8Matrix, bias: torch.Tensor | None = None) -> Projection:
    """The product with a matrix, with the activations that it wants."""
    if matrix.input_scale is not None:
        return StaticInt8Linear(matrix, matrix.input_scale, bias)
    return Int8Linear(matrix, bias)


def _plus(y: torch.Tensor, *terms: torch.Tensor | None) -> torch.Tensor:
    for term in terms:
        if term is not None:
            y += term
    return y


def _largest(x: torch.Tensor) -> torch.Tensor:
    return x.abs().amax(-1, keepdim=True).clamp_min_(_TINY)
