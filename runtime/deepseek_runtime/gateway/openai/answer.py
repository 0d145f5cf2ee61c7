"""Answers written anew: of what an engine sends, only the fields of OpenAI's completion object go on."""

from dataclasses import dataclass
from typing import Any

import orjson

_CHOICE = ("index", "text", "logprobs", "finish_reason")
_LOGPROBS = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
_USAGE = ("prompt_tokens", "completion_tokens", "total_tokens")


class MalformedAnswerError(ValueError):
    """The engine sent something that is not a completion."""


class EngineReportedError(ValueError):
    """The engine sent an error object in the middle of a stream; the message is its own."""


@dataclass(slots=True)
class Answer:
    """Rewrites one answer and keeps what the audit record needs: finish reason, usage, amount of text.

    `model` is the name as the caller wrote it; `include_usage` is what the caller of a stream asked for.
    """

    id: str
    model: str
    include_usage: bool = True
    finish_reason: str | None = None
    usage: dict[str, int] | None = None
    characters: int = 0
    events: int = 0

    def whole(self, body: bytes) -> bytes:
        """An answer in one piece; errors: MalformedAnswerError."""
        document = _object(body)
        answer = self._completion(document)
        if not answer["choices"]:
            raise MalformedAnswerError("the answer has no choices")
        if self.usage is not None:
            answer["usage"] = self.usage
        return orjson.dumps(answer)

    def chunk(self, data: bytes) -> bytes | None:
        """One event of a stream, or None where the caller did not ask for it.

        Errors: MalformedAnswerError, EngineReportedError.
        """
        document = _object(data)
        if isinstance(error := document.get("error"), dict):
            raise EngineReportedError(str(error.get("message", "no message"))[:512])
        answer = self._completion(document)
        self.events += 1
        if self.include_usage:
            has_usage = isinstance(document.get("usage"), dict)
            answer["usage"] = self.usage if has_usage else None
        elif not answer["choices"]:
            return None
        return orjson.dumps(answer)

    def _completion(self, document: dict[str, Any]) -> dict[str, Any]:
        created, choices = document.get("created"), document.get("choices")
        if not isinstance(created, int) or not isinstance(choices, list):
            raise MalformedAnswerError("'created' or 'choices' is missing")
        if isinstance(usage := document.get("usage"), dict):
            self.usage = _counts(usage)
        return {
            "id": self.id,
            "object": "text_completion",
            "created": created,
            "model": self.model,
            "choices": [self._choice(choice) for choice in choices],
        }

    def _choice(self, choice: Any) -> dict[str, Any]:
        if not isinstance(choice, dict) or not isinstance(choice.get("text"), str):
            raise MalformedAnswerError("a choice has no text")
        kept = {name: choice.get(name) for name in _CHOICE}
        reason, logprobs = kept["finish_reason"], kept["logprobs"]
        if not (reason is None or isinstance(reason, str)) or not isinstance(kept["index"], int):
            raise MalformedAnswerError("a choice has no index or a strange finish_reason")
        if logprobs is not None:
            if not isinstance(logprobs, dict):
                raise MalformedAnswerError("'logprobs' is not an object")
            kept["logprobs"] = {name: logprobs.get(name) for name in _LOGPROBS}
        self.characters += len(choice["text"])
        self.finish_reason = reason or self.finish_reason
        return kept


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise MalformedAnswerError("the answer is not JSON") from None
    if not isinstance(document, dict):
        raise MalformedAnswerError("the answer is not a JSON object")
    return document


def _counts(usage: dict[str, Any]) -> dict[str, int]:
    counts = {name: usage.get(name) for name in _USAGE}
    if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts.values()):
        raise MalformedAnswerError("'usage' has no token counts")
    return {name: int(count) for name, count in counts.items() if count is not None}
