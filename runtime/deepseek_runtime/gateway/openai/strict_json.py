"""JSON that means one thing only: what the policy sees must be what the engine reads."""

import json
from typing import Any

import orjson

from deepseek_runtime.gateway.openai.errors import invalid


class _DuplicateKeyError(ValueError):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateKeyError(key)
            seen.add(key)
    return members


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; errors: ApiError 400, with the position or the key that is given twice.

    orjson is strict where `json` is not (NaN, lone surrogates, UTF-8, depth), but keeps the last of two equal keys
    without a word, at every depth. So both look: parsers that disagree are how filters are passed by.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(f"The body is not valid JSON: {error}.", code="invalid_json") from None
    if not isinstance(document, dict):
        raise invalid("The body must be a JSON object.", code="invalid_json")
    try:
        json.loads(body, object_pairs_hook=_unique)
    except _DuplicateKeyError as error:
        name = error.key[:64]
        raise invalid(
            f"The key {name!r} is given twice in one JSON object.", param=name, code="duplicate_key"
        ) from None
    except (ValueError, RecursionError) as error:  # json refuses what orjson takes: integers of thousands of digits
        raise invalid(f"The body is not valid JSON: {str(error)[:200]}.", code="invalid_json") from None
    return document
