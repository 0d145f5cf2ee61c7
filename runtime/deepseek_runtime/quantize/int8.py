"""A copy of a model with int8 weights, written tensor by tensor: a model of any size takes one tensor's memory."""

import fnmatch
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.job.place import place
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.quantize import packed
from deepseek_runtime.quantize.selection import EXPERT, HEAD, Selection, select
from deepseek_runtime.weights import facts, manifest, safety, seal
from deepseek_runtime.weights.header import ITEM_SIZE, TensorInfo
from deepseek_runtime.weights.load import load_config
from deepseek_runtime.weights.safety import Shard
from deepseek_runtime.weights.writer import Writer
from deepseek_runtime.wire.job import QuantizeJob
from deepseek_runtime.wire.result import JobResult, Quantization

Layout = dict[str, tuple[str, tuple[int, ...]]]
"""dtype and shape of every tensor of a file."""


def run(job: QuantizeJob, reporter: Reporter) -> JobResult:
    """Quantize a verified model and seal it; DataError `NotFinite` names a tensor with NaN or infinity."""
    source = Path(job.input)
    config = safety.read_json(source / safety.CONFIG)
    if "quantization_config" in config:
        raise ConfigurationError("AlreadyQuantized", f"{source} is quantized already. Quantize the base model.")
    shards = safety.check(source)
    selection = select(load_config(source), [name for shard in shards for name in shard.tensors], job.ignore)
    directory = seal.partial(place(job), job.identity)
    figures = _write_weights(shards, selection, directory, reporter)
    weight_files = {shard.path.name for shard in shards} | {safety.INDEX, safety.CONFIG}
    for file in manifest.read(source).files:
        if file.path not in weight_files and not file.path.endswith(".sig"):  # a signature is of the base
            (directory / file.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file.path, directory / file.path)
    config["quantization_config"] = quantization_config(job.ignore)
    (directory / safety.CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
    result = JobResult(
        kind=job.kind,
        identity=job.identity,
        outcome="succeeded",
        artifact=facts.artifact(directory, manifest.write(directory, reporter)),
        quantization=figures,
    )
    return seal.seal(place(job), job.identity, result)


def quantization_config(ignore: Sequence[str]) -> dict[str, Any]:
    """What config.json says, in compressed-tensors' words; shell patterns become its regular expressions.

    The output layer is named even where it is tied to the embeddings: readers make a module of it all the same.
    transformers 5.23 cannot load a model that keeps a layer's routed experts beside quantized layers; engines can.
    """
    weights = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False}
    group = {"targets": ["Linear"], "weights": weights, "format": "pack-quantized"}
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": [HEAD, *(f"re:{fnmatch.translate(pattern)}" for pattern in ignore)],
    }


def _write_weights(shards: Sequence[Shard], selection: Selection, directory: Path, reporter: Reporter) -> Quantization:
    total = sum(info.bytes for shard in shards for info in shard.tensors.values())
    done, expert_before, expert_after, after = 0, 0, 0, 0
    weight_map: dict[str, str] = {}
    for shard in shards:
        layouts = {name: _layout(name, info, selection) for name, info in shard.tensors.items()}
        whole = {part: entry for layout in layouts.values() for part, entry in layout.items()}
        weight_map |= dict.fromkeys(whole, shard.path.name)
        with safe_open(shard.path, framework="pt") as file, Writer(directory / shard.path.name, whole) as writer:
            for name, info in shard.tensors.items():
                for part, tensor in zip(layouts[name], _convert(name, file.get_tensor(name), selection), strict=True):
                    writer.write(part, tensor)
                written = sum(_bytes(entry) for entry in layouts[name].values())
                after, done = after + written, done + info.bytes
                if EXPERT.fullmatch(name.removesuffix(".weight")):
                    expert_before, expert_after = expert_before + info.bytes, expert_after + written
                reporter.update("quantizing", unit="bytes", done=done, total=total)
    if len(shards) > 1:
        index = {"metadata": {"total_size": after}, "weight_map": dict(sorted(weight_map.items()))}
        (directory / safety.INDEX).write_text(json.dumps(index, indent=2) + "\n", "utf-8")
    return Quantization(
        scheme="int8",
        weight_bytes_before=total,
        weight_bytes_after=after,
        expert_bytes_before=expert_before,
        expert_bytes_after=expert_after,
        quantized_modules=len(selection.quantized),
        kept_modules=len(selection.kept),
    )


def _layout(name: str, info: TensorInfo, selection: Selection) -> Layout:
    """What one tensor becomes."""
    module = name.removesuffix(".weight")
    if module not in selection.quantized or module == name:
        return {name: (info.dtype, info.shape)}
    rows, columns = info.shape
    return {
        f"{module}.{packed.PACKED}": ("I32", (rows, packed.packed_columns(columns))),
        f"{module}.{packed.SCALE}": (info.dtype, (rows, 1)),
        f"{module}.{packed.SHAPE}": ("I64", (2,)),
    }


def _convert(name: str, tensor: torch.Tensor, selection: Selection) -> tuple[torch.Tensor, ...]:
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise DataError("NotFinite", f"Tensor {name} has NaN or infinite values. Train or copy the model again.")
    if name.endswith(".weight") and name.removesuffix(".weight") in selection.quantized:
        return packed.quantize(tensor)
    return (tensor,)


def _bytes(entry: tuple[str, tuple[int, ...]]) -> int:
    dtype, shape = entry
    return ITEM_SIZE[dtype] * torch.Size(shape).numel()
