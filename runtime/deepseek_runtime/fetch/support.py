"""Whether this runtime can read a model, told from its configuration before the weights are fetched."""

from pathlib import Path

from deepseek_runtime.job.errors import DataError, UnknownArchitectureError
from deepseek_runtime.quantize import declared
from deepseek_runtime.weights import safety
from deepseek_runtime.wire import elsewhere
from deepseek_runtime.wire.architecture import FAMILIES, KEYS, problems
from deepseek_runtime.wire.result import Refused


def check(directory: Path, weight_bytes: int) -> None:
    """`weight_bytes`: of the files that the weights are in.

    Errors: DataError `UnknownArchitecture`, `UnsupportedQuantization`, `InvalidConfig`, `BadFile`.
    """
    config = safety.read_json(directory / safety.CONFIG)
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    if name not in FAMILIES:
        described = elsewhere.architecture(config) if isinstance(name, str) else None
        raise UnknownArchitectureError(
            f"{safety.CONFIG} names the architecture {str(name)[:100]}; this runtime has {', '.join(FAMILIES)}.",
            Refused(name=str(name)[:100], weight_bytes=weight_bytes, architecture=described),
        )
    family = FAMILIES[name]
    known = {key: config[key] for key in KEYS[family] if key in config}
    vocabulary = config.get("vocab_size")
    found = list(problems(family, known, vocabulary if type(vocabulary) is int else 0))
    missing = ("hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")
    found += [f"config.{key} is missing" for key in missing if key not in config]
    if found:
        raise DataError("InvalidConfig", f"{safety.CONFIG} makes no {family}: {'; '.join(found[:4])}.")
    declared.scheme(config)


def shards(directory: Path) -> frozenset[str]:
    """The weight files that the model consists of."""
    if not (directory / safety.INDEX).exists():
        return frozenset({safety.SINGLE})
    weight_map = safety.read_json(directory / safety.INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise DataError("BadFile", f"{safety.INDEX} has no weight_map. Name a revision with an intact one.")
    return frozenset(weight_map.values())
