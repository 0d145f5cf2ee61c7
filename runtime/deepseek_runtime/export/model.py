"""The export Job: each format is written by a room of its own."""

from importlib import import_module

from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.wire.job import ExportJob
from deepseek_runtime.wire.result import JobResult

FORMATS = {"gguf": "deepseek_runtime.export.gguf.model", "onnx": "deepseek_runtime.export.onnx.model"}
"""The module whose `run(job, reporter)` writes the format and seals it."""
TYPES = {"gguf": ("f16", "q8_0", "q4_0"), "onnx": ("float32", "int8")}


def run(job: ExportJob, reporter: Reporter) -> JobResult:
    """Export a verified model and seal it.

    Errors: ConfigurationError `InvalidConfig` for a type of the other format, and for calibration where nothing or
    something is calibrated; as the format's own `run`.
    """
    if job.type not in TYPES[job.format]:
        raise ConfigurationError(
            "InvalidConfig", f"{job.format} has the types {', '.join(TYPES[job.format])}; {job.type} is none of them."
        )
    if (job.type == "int8") != (job.calibration is not None):
        what = "needs calibration" if job.type == "int8" else "takes no calibration"
        raise ConfigurationError("InvalidConfig", f"{job.format} of type {job.type} {what}.")
    result: JobResult = import_module(FORMATS[job.format]).run(job, reporter)
    return result
