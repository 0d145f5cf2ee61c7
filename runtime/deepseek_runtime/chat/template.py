"""Where a model keeps its chat template, and the one that new models get."""

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

TEMPLATE_FILE = "chat_template.jinja"
SETTINGS_FILE = "tokenizer_config.json"
LONGEST_TEMPLATE = 256 * 1024
"""Bytes; the longest that are published have some 20 KB."""

_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """Jinja source, and the special tokens that it knows by name."""

    source: str
    special: dict[str, str]


class BadTemplateError(ValueError):
    """The model's files name a template that cannot be used; the message says which file and why."""


def load(directory: Path) -> ChatTemplate | None:
    """The model's template as transformers finds it, or None where it has none; errors: BadTemplateError.

    `chat_template.jinja` goes before tokenizer_config.json; of several templates with names, it is `default`.
    """
    settings = _settings(directory / SETTINGS_FILE)
    file = directory / TEMPLATE_FILE
    source = _text(file) if file.is_file() else settings.get("chat_template")
    if isinstance(source, list):
        source = _named(source).get("default")
    if source is None:
        return None
    if not isinstance(source, str):
        raise BadTemplateError(f"chat_template of {directory / SETTINGS_FILE} is no text.")
    if len(source) > LONGEST_TEMPLATE:
        raise BadTemplateError(
            f"The chat template of {directory} has {len(source)} characters; at most {LONGEST_TEMPLATE} are taken."
        )
    return ChatTemplate(source, _special(directory, settings))


def every(directory: Path) -> list[tuple[str, ChatTemplate]]:
    """All templates that the model's files hold, each with the file's name; errors: BadTemplateError."""
    settings = _settings(directory / SETTINGS_FILE)
    special, source = _special(directory, settings), settings.get("chat_template")
    inside = list(_named(source).values()) if isinstance(source, list) else [source]
    files = [(path.name, _text(path)) for path in sorted(directory.glob("*.jinja"))]
    found = [*files, *((SETTINGS_FILE, text) for text in inside if isinstance(text, str))]
    for name, text in found:
        if len(text) > LONGEST_TEMPLATE:
            raise BadTemplateError(
                f"A template in {name} has {len(text)} characters; at most {LONGEST_TEMPLATE} are taken."
            )
    return [(name, ChatTemplate(text, special)) for name, text in found]


def default() -> str:
    """The template of models from scratch: DeepSeek-V3's form, with the role tokens of models/tokenizer.py."""
    return resources.files(__package__).joinpath("default.jinja").read_text("utf-8")


def _named(entries: list[Any]) -> dict[Any, Any]:
    """Templates by name."""
    return {str(entry.get("name")): entry.get("template") for entry in entries if isinstance(entry, dict)}


def _special(directory: Path, settings: dict[str, Any]) -> dict[str, str]:
    tokens = {**_settings(directory / "special_tokens_map.json"), **settings}
    return {name: token for name in _SPECIAL if (token := _token(tokens.get(name))) is not None}


def _token(value: Any) -> str | None:
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None


def _settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadTemplateError(f"{path} cannot be read: {error}.") from error
    return value if isinstance(value, dict) else {}


def _text(path: Path) -> str:
    if path.stat().st_size > LONGEST_TEMPLATE:
        raise BadTemplateError(f"{path} has {path.stat().st_size} bytes; at most {LONGEST_TEMPLATE} are taken.")
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise BadTemplateError(f"{path} cannot be read: {error}.") from error
