"""Root-mean-square normalisation is what its formula says, in every dtype and size of numbers."""

import pytest
import torch
from deepseek_runtime.serve.layers.norm import RmsNorm


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("magnitude", [0.0, 1e-6, 1e-3, 1.0, 1e4, 1e15])
def test_rows_are_divided_by_their_root_mean_square(dtype: torch.dtype, magnitude: float) -> None:
    torch.manual_seed(1)
    weight, x = torch.randn(96).to(dtype), (torch.randn(5, 96) * magnitude).to(dtype)
    exact = x.double()
    exact = exact / (exact.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * weight.double()
    found = RmsNorm(weight, 1e-6)(x)
    assert found.dtype == dtype
    torch.testing.assert_close(found, exact.to(dtype), rtol=2e-6 if dtype == torch.float32 else 8e-3, atol=0)
