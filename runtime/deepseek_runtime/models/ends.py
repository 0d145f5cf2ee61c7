"""The tokens that a model ends an answer with."""

from pathlib import Path

from transformers import GenerationConfig, PretrainedConfig

GENERATION = "generation_config.json"


def end_tokens(directory: Path, config: PretrainedConfig) -> frozenset[int]:
    """Where generation stops: generation_config.json goes before config.json."""
    ids = config.eos_token_id
    if (directory / GENERATION).exists():
        ids = GenerationConfig.from_pretrained(directory, local_files_only=True).eos_token_id or ids
    if ids is None:
        return frozenset()
    return frozenset(ids if isinstance(ids, list) else [ids])
