"""The one refusal of this room."""

from deepseek_runtime.job.errors import DataError


def unsupported(what: str) -> DataError:
    """`UnsupportedExport`: the model has something that llama.cpp would not compute, or read, as this runtime does."""
    return DataError("UnsupportedExport", f"{what} Nothing is exported that would answer differently.")
