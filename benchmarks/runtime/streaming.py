"""Data-free quantization of a model in large files: the memory it takes, and its speed beside reading and hashing.

Each run is a process of its own, as in a pod, so that its peak is its own. Times are of a processor, not of a clock.
"""

import hashlib
import json
import multiprocessing
import shutil
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from deepseek_runtime.quantize import model as quantize
from deepseek_runtime.weights import manifest, safety
from deepseek_runtime.weights.writer import Writer
from deepseek_runtime.wire.job import QuantizeJob
from transformers import LlamaConfig

from benchmarks.report import Measurement, at_least, at_most
from benchmarks.runtime.models import Quiet
from benchmarks.runtime.rounds import ROUNDS, middle, ratios

LAYERS, HIDDEN = 4, 6144
"""A file holds a layer: seven square matrices in bf16, 528 MB."""
_RECIPES: dict[str, dict[str, Any]] = {"int8": {"scheme": "int8"}, "int4": {"scheme": "int4", "group_size": 128}}
_SHARDS = 3.0
_SPEED = {"int8": 0.3, "int4": 0.15}
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])  # imports are not measured, and made once
_PROJECTIONS = (
    *(f"self_attn.{name}_proj" for name in ("q", "k", "v", "o")),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
)


def run(scratch: Path) -> list[Measurement]:
    """Peaks in files, and speeds round by round; hashing takes its turn before each pair."""
    base = scratch / "streaming"
    size = _make(base)
    digest = manifest.read(base).digest
    hashing: list[float] = []
    seconds: dict[str, list[float]] = {name: [] for name in _RECIPES}
    peaks: dict[str, list[float]] = {name: [] for name in _RECIPES}
    for _ in range(ROUNDS):
        hashing.append(_apart(_hash, base)[0])
        for name, recipe in _RECIPES.items():
            output = scratch / "streamed"
            told = {"input": str(base), "input_digest": digest, "output": str(output)}
            job = QuantizeJob(identity="benchmark", owner="benchmark", **told, **recipe)
            took, peak = _apart(_quantize, job)
            shutil.rmtree(output)
            seconds[name].append(took)
            peaks[name].append(peak / (size / LAYERS))
    shutil.rmtree(base)
    speed, spread = middle([size / 1e9 / each for each in hashing], "GB/s")
    found = [Measurement("reading and hashing, one processor", speed, "GB/s", spread)]
    for name in _RECIPES:
        peak, spread = middle(peaks[name])
        metric = f"quantization to {name}, peak memory above the imports"
        found.append(Measurement(metric, peak, f"files of {size / LAYERS / 1e6:.0f} MB", spread, at_most(_SHARDS)))
        ratio, spread = middle(ratios(hashing, seconds[name]))
        metric = f"quantization to {name}, speed against reading and hashing"
        found.append(Measurement(metric, ratio, "x", spread, at_least(_SPEED[name])))
    return found


def _make(home: Path) -> int:
    """A sealed model, random, without embeddings, which are not quantized; the bytes of its weights."""
    home.mkdir()
    config = LlamaConfig(
        hidden_size=HIDDEN, intermediate_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=8,
        num_key_value_heads=8, head_dim=HIDDEN // 8, architectures=["LlamaForCausalLM"], dtype="bfloat16",
    )  # fmt: skip
    (home / safety.CONFIG).write_text(json.dumps(config.to_dict()))
    weight_map: dict[str, str] = {}
    generator = torch.Generator().manual_seed(1)
    for layer in range(LAYERS):
        file = f"model-{layer + 1:05}-of-{LAYERS:05}.safetensors"
        names = [f"model.layers.{layer}.{projection}.weight" for projection in _PROJECTIONS]
        with Writer(home / file, dict.fromkeys(names, ("BF16", (HIDDEN, HIDDEN)))) as writer:
            for name in names:
                writer.write(name, torch.randn(HIDDEN, HIDDEN, generator=generator).mul_(0.02).bfloat16())
        weight_map |= dict.fromkeys(names, file)
    (home / safety.INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    manifest.write(home)
    return sum(path.stat().st_size for path in home.glob("*.safetensors"))


def _apart(work: Callable[..., None], *arguments: object) -> tuple[float, float]:
    """Seconds of a processor that work takes in a new process, and bytes that its peak lies above the imports."""
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_measured, args=(theirs, work, arguments))
    process.start()
    theirs.close()
    try:
        found: tuple[float, float] = ours.recv()
    finally:
        process.join()
    return found


def _measured(told: Connection, work: Callable[..., None], arguments: tuple[object, ...]) -> None:
    torch.set_num_threads(1)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: what importing took for a moment is not of it
    before, began = _status("VmRSS:"), time.process_time()
    work(*arguments)
    told.send((time.process_time() - began, _status("VmHWM:") - before))


def _hash(directory: Path) -> None:
    for path in sorted(directory.glob("*.safetensors")):
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")


def _quantize(job: QuantizeJob) -> None:
    quantize.run(job, Quiet())


def _status(line: str) -> float:
    """Bytes, of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(each.split()[1]) for each in lines if each.startswith(line)) * 1024
