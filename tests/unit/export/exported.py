"""Tiny models as files of other engines."""

from pathlib import Path
from typing import Any

import torch
from deepseek_runtime.export.gguf import model
from deepseek_runtime.models import scratch
from deepseek_runtime.weights import manifest
from deepseek_runtime.weights.load import load_state
from deepseek_runtime.wire.job import ExportJob
from deepseek_runtime.wire.result import JobResult
from gguf import GGUFReader, dequantize
from safetensors.torch import load_file, save_file

from tests.unit.tiny import Reports, build_job

WIDE = {"kv_lora_rank": 32, "q_lora_rank": 32, "moe_intermediate_size": 32, "intermediate_size": 64}
"""Rows of whole blocks, but for those of a head's parts."""


def base(directory: Path, architecture: str, **config: Any) -> Path:
    scratch.run(build_job(directory, architecture, **config), Reports())
    return directory / "volume" / "artifact"


def job(source: Path, output: Path, kind: str = "f16") -> ExportJob:
    return ExportJob.model_validate(
        {
            "identity": "3" * 64,
            "owner": "DeepSeekModel/test/tiny",
            "input": str(source),
            "inputDigest": manifest.read(source).digest,
            "output": str(output),
            "type": kind,
        }
    )


def onnx_job(source: Path, output: Path, **changes: object) -> ExportJob:
    plain = job(source, output).model_dump(by_alias=True)
    return ExportJob.model_validate({**plain, "format": "onnx", "type": "float32", **changes})


def export(source: Path, output: Path, kind: str = "f16") -> JobResult:
    return model.run(job(source, output, kind), Reports())


def read(output: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor], dict[str, str]]:
    """Keys, dequantized tensors and their types, by the format's own reader."""
    reader = GGUFReader(output / "artifact" / model.FILE)
    keys = {name: field.contents() for name, field in reader.fields.items()}
    tensors, types = {}, {}
    for each in reader.tensors:
        shape = tuple(int(size) for size in reversed(each.shape))
        tensors[each.name] = torch.from_numpy(dequantize(each.data, each.tensor_type).copy()).reshape(shape)
        types[each.name] = each.tensor_type.name
    return keys, tensors, types


def state(source: Path) -> dict[str, torch.Tensor]:
    return dict(load_state(source, torch.float32))


def change(source: Path, name: str, value: torch.Tensor) -> None:
    """Another value of a tensor, and a manifest that knows it."""
    weights = load_file(source / "model.safetensors")
    weights[name] = value
    save_file(weights, source / "model.safetensors", {"format": "pt"})
    manifest.write(source)
