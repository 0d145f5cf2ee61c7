"""What runs in pods, measured without a cluster: one file for each question, `RUNTIME` in the order they are asked."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.report import Measurement
from benchmarks.runtime import decode, manifest, onnx, quality, size, streaming

Run = Callable[[Path], list[Measurement]]
"""Given a directory that all scenarios of a run share: a model that one has made is there for the next."""

RUNTIME: dict[str, Run] = {
    "manifest": manifest.run,
    "size": size.run,
    "quality": quality.run,
    "onnx": onnx.run,
    "streaming": streaming.run,
    "decode": decode.run,
}
