"""Answers written anew: of what an engine sends, only the fields of OpenAI's objects go on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

_LOGPROBS = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
_TOKEN = ("token", "logprob", "bytes")
_USAGE = ("prompt_tokens", "completion_tokens", "total_tokens")
_REASONS = (None, "stop", "length", "content_filter", "tool_calls", "function_call")
"""OpenAI's, and no other text: the audit log keeps it, and whoever answers in an engine's place would fill the disk."""


class MalformedAnswerError(ValueError):
    """The engine sent something that is not a completion."""


class EngineReportedError(ValueError):
    """The engine sent an error object in the middle of a stream; the message is its own."""


@dataclass(slots=True)
class Answer:
    """Rewrites one text completion and keeps what the audit record needs: finish reason, usage, amount of text.

    `model` is the name as the caller wrote it; `include_usage` is what the caller of a stream asked for.
    """

    prefix: ClassVar[str] = "cmpl"
    kind: ClassVar[str] = "text_completion"
    chunk_kind: ClassVar[str] = "text_completion"

    request_id: str
    model: str
    include_usage: bool = True
    finish_reason: str | None = None
    usage: dict[str, int] | None = None
    characters: int = 0
    events: int = 0

    def whole(self, body: bytes) -> bytes:
        """An answer in one piece; errors: MalformedAnswerError."""
        document = _object(body)
        answer = self._completion(document, self.kind, self._whole_choice)
        if not answer["choices"]:
            raise MalformedAnswerError("the answer has no choices")
        if self.usage is not None:
            answer["usage"] = self.usage
        return _encoded(answer)

    def chunk(self, data: bytes) -> bytes | None:
        """One event of a stream, or None where the caller did not ask for it.

        Errors: MalformedAnswerError, EngineReportedError.
        """
        document = _object(data)
        if isinstance(error := document.get("error"), dict):
            raise EngineReportedError(str(error.get("message", "no message"))[:512])
        answer = self._completion(document, self.chunk_kind, self._chunk_choice)
        self.events += 1
        if self.include_usage:
            has_usage = isinstance(document.get("usage"), dict)
            answer["usage"] = self.usage if has_usage else None
        elif not answer["choices"]:
            return None
        return _encoded(answer)

    def _completion(
        self, document: dict[str, Any], kind: str, content: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> dict[str, Any]:
        created, choices = document.get("created"), document.get("choices")
        if not isinstance(created, int) or not isinstance(choices, list):
            raise MalformedAnswerError("'created' or 'choices' is missing")
        if isinstance(usage := document.get("usage"), dict):
            self.usage = _counts(usage)
        return {
            "id": f"{self.prefix}-{self.request_id}",
            "object": kind,
            "created": created,
            "model": self.model,
            "choices": [self._choice(choice, content) for choice in choices],
        }

    def _choice(self, choice: Any, content: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
        if not isinstance(choice, dict):
            raise MalformedAnswerError("a choice is not an object")
        index, reason, logprobs = (choice.get(name) for name in ("index", "finish_reason", "logprobs"))
        if reason not in _REASONS or not isinstance(index, int):
            raise MalformedAnswerError("a choice has no index or a strange finish_reason")
        if not (logprobs is None or isinstance(logprobs, dict)):
            raise MalformedAnswerError("'logprobs' is not an object")
        self.finish_reason = reason or self.finish_reason
        scores = None if logprobs is None else self._logprobs(logprobs)
        return {"index": index, **content(choice), "logprobs": scores, "finish_reason": reason}

    def _whole_choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        return {"text": self._text(choice.get("text"))}

    def _chunk_choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        return self._whole_choice(choice)

    def _logprobs(self, logprobs: dict[str, Any]) -> dict[str, Any]:
        return {name: logprobs.get(name) for name in _LOGPROBS}

    def _text(self, text: Any) -> str:
        if not isinstance(text, str):
            raise MalformedAnswerError("a choice has no text")
        self.characters += len(text)
        return text


@dataclass(slots=True)
class ChatAnswer(Answer):
    """Rewrites one message of an assistant."""

    prefix: ClassVar[str] = "chatcmpl"
    kind: ClassVar[str] = "chat.completion"
    chunk_kind: ClassVar[str] = "chat.completion.chunk"

    def _whole_choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        message = _member(choice, "message")
        return {"message": {"role": "assistant", "content": self._text(message.get("content")), "refusal": None}}

    def _chunk_choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        delta = _member(choice, "delta")
        kept: dict[str, Any] = {"role": "assistant"} if delta.get("role") is not None else {}
        if delta.get("content") is not None:
            kept["content"] = self._text(delta["content"])
        return {"delta": kept}

    def _logprobs(self, logprobs: dict[str, Any]) -> dict[str, Any]:
        return {"content": [_scored(token) for token in _list(logprobs, "content")], "refusal": None}


def _scored(token: Any) -> dict[str, Any]:
    kept = _token(token)
    kept["top_logprobs"] = [_token(other) for other in _list(token, "top_logprobs")]
    return kept


def _token(token: Any) -> dict[str, Any]:
    if not isinstance(token, dict):
        raise MalformedAnswerError("'logprobs' has something that is no token")
    return {name: token.get(name) for name in _TOKEN}


def _member(choice: dict[str, Any], name: str) -> dict[str, Any]:
    value = choice.get(name)
    if not isinstance(value, dict):
        raise MalformedAnswerError(f"a choice has no {name}")
    return value


def _list(holder: dict[str, Any], name: str) -> list[Any]:
    value = holder.get(name)
    if not isinstance(value, list):
        raise MalformedAnswerError(f"'{name}' is not a list")
    return value


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise MalformedAnswerError("the answer is not JSON") from None
    if not isinstance(document, dict):
        raise MalformedAnswerError("the answer is not a JSON object")
    return document


def _encoded(answer: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(answer)
    except orjson.JSONEncodeError as error:  # it reads JSON that is nested deeper than what it writes
        raise MalformedAnswerError(f"the answer cannot be written as JSON: {error}") from None


def _counts(usage: dict[str, Any]) -> dict[str, int]:
    counts = {name: usage.get(name) for name in _USAGE}
    if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts.values()):
        raise MalformedAnswerError("'usage' has no token counts")
    return {name: int(count) for name, count in counts.items() if count is not None}
