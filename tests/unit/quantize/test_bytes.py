"""The bytes of every scheme's file: what makes quantization faster may not change them, or a digest means nothing."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from deepseek_runtime.quantize import schemes
from deepseek_runtime.weights.writer import DTYPES, Writer

from tests.unit.tiny import quantize_job

DIGESTS = {
    ("int8", "BF16"): "dbae5fea5425fdaf",
    ("int8", "F32"): "2ed8ffca6d4b4361",
    ("int8 dynamic", "BF16"): "c1f5f8c79881347e",
    ("int8 dynamic", "F32"): "5e7d0ab432df670e",
    ("int4", "BF16"): "d7d507dfd3c7c6e0",
    ("int4", "F32"): "e7b7c06888996d9c",
    ("fp8", "BF16"): "537e2219c978f7f4",
    ("fp8", "F32"): "96c313769849e9e9",
    ("fp8Block", "BF16"): "b51ec1086a720d87",
    ("fp8Block", "F32"): "a7ab324bc658e166",
}
RECIPES: dict[str, dict[str, Any]] = {
    "int8": {"scheme": "int8"},
    "int8 dynamic": {"scheme": "int8", "method": "dynamic"},
    "int4": {"scheme": "int4", "group_size": 32},
    "fp8": {"scheme": "fp8"},
    "fp8Block": {"scheme": "fp8Block"},
}
SHAPES = {"one.band": (70, 96), "several.bands": (300, 2048), "wide": (2, (1 << 18) + 32)}


@pytest.mark.parametrize("dtype", ["BF16", "F32"])
@pytest.mark.parametrize("name", RECIPES)
def test_a_file_has_the_bytes_that_it_always_had(name: str, dtype: str, tmp_path: Path) -> None:
    scheme = schemes.scheme(quantize_job(tmp_path, "", tmp_path, **RECIPES[name]))
    assert scheme is not None
    layout = {part: entry for at, shape in SHAPES.items() for part, entry in scheme.layout(at, shape, dtype).items()}
    with Writer(tmp_path / "file", layout) as writer:
        for at, shape in SHAPES.items():
            for part, tensor in scheme.convert(at, _weight(*shape).to(DTYPES[dtype]).float(), dtype).items():
                writer.write(part, tensor)
    assert hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest()[:16] == DIGESTS[name, dtype]


def _weight(rows: int, columns: int) -> torch.Tensor:
    """Numbers of every sign and many magnitudes, by integers alone: the same on any machine; a row of zeros."""
    steps = torch.arange(rows * columns).view(rows, columns)
    weight = ((steps * 2654435761 >> 7) % 20011 - 10005) * (1 + steps[:, :1] % 7) / 2.0**18
    weight[1] = 0
    return weight.float()
