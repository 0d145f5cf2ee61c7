"""What must hold of a model's directory before anything in it is used: data only, nothing that runs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek_runtime.job.errors import DataError
from deepseek_runtime.weights import header
from deepseek_runtime.weights.header import TensorInfo
from deepseek_runtime.wire.architecture import FAMILIES

CONFIG = "config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz"})
"""Endings of formats whose readers can be made to run code."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One weight file with the tensors in it, in the order of their bytes."""

    path: Path
    tensors: dict[str, TensorInfo]


def check(directory: Path) -> tuple[Shard, ...]:
    """The weight files of a model that is safe to load, in the order of their names.

    Configuration that asks for code is refused when a model comes (`check_no_code`), and never followed by those who
    load it. Errors: DataError naming the file: `UnsafeModel` for pickles, `BadWeights` for malformed safetensors,
    `MissingFile`.
    """
    for path in sorted(directory.rglob("*")):
        if path.suffix.lower() in PICKLES:
            raise DataError(
                "UnsafeModel", f"{path} may hold a pickle, which can run code. Convert the weights to safetensors."
            )
    shards = tuple(Shard(path, header.read(path)) for path in weight_files(directory))
    seen: dict[str, Path] = {}
    for shard in shards:
        for name in shard.tensors:
            if name in seen:
                raise DataError("BadWeights", f"Tensor {name} is in {seen[name]} and in {shard.path}. Remove one.")
            seen[name] = shard.path
    return shards


def check_no_code(directory: Path) -> None:
    """DataError `UnsafeModel` for configuration that asks for code (auto_map) which the runtime lacks.

    DeepSeek's own repositories ask for code of architectures that are built in: it is neither fetched nor run.
    """
    for name in (CONFIG, TOKENIZER_CONFIG):
        config = read_json(directory / name) if (directory / name).exists() else {}
        names = config.get("architectures")
        built_in = isinstance(names, list) and len(names) == 1 and names[0] in FAMILIES
        if "auto_map" in config and not built_in:
            raise DataError(
                "UnsafeModel",
                f"{directory / name} asks for code to be run (auto_map). Use an architecture that is built in, or "
                "allow AutoMap in verification.allow: the code is not run for that.",
            )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; DataError `MissingFile` or `BadFile` names it."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(
            "MissingFile", f"{path} cannot be read ({error.strerror}). Is {path.parent} a model?"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError("BadFile", f"{path} is not JSON. Replace it by an intact copy.") from error
    if not isinstance(value, dict):
        raise DataError("BadFile", f"{path} is not a JSON object. Replace it by an intact copy.")
    return value


def weight_files(directory: Path) -> list[Path]:
    """The files that a model's weights are in, by its index where it has one. Errors: DataError naming the file."""
    if not (directory / INDEX).exists():
        if not (directory / SINGLE).is_file():
            raise DataError("MissingFile", f"{directory} has neither {SINGLE} nor {INDEX}. Is it a model?")
        return [directory / SINGLE]
    weight_map = read_json(directory / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise DataError("BadFile", f"{directory / INDEX} has no weight_map. Replace it by an intact copy.")
    for name in weight_map.values():
        if not isinstance(name, str) or Path(name).name != name or not _plain(name):
            raise DataError("UnsafeModel", f"{directory / INDEX} names {name!r}, which is no weight file beside it.")
    return [directory / name for name in sorted(set(weight_map.values()))]


def _plain(name: str) -> bool:
    """Whether a file can have this name, and the name is that of weights."""
    return name.endswith(".safetensors") and name.isprintable()
