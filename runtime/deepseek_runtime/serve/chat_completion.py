"""`/v1/chat/completions`: the next message of a conversation."""

from dataclasses import dataclass
from typing import Any, ClassVar

from deepseek_runtime.gateway.openai.chat_request import ChatRequest
from deepseek_runtime.serve.engine import Delta, ScoredToken
from deepseek_runtime.serve.engine_thread import Loaded
from deepseek_runtime.serve.protocol import Prepared, Writer, check_characters, check_tokens

BYTES = "bytes:"
"""How the tokenizer begins the name of a token that is a piece of a character (serve/tokenizer.py)."""


def prepare(asked: ChatRequest, loaded: Loaded, served_name: str) -> Prepared:
    """The conversation's tokens, which leave room for an answer; errors: ApiError 400."""
    characters = sum(len(message.content) for message in asked.messages)
    check_characters(characters, asked, loaded.context_length)
    tokens = loaded.chat.tokenize([message.plain() for message in asked.messages])
    check_tokens(len(tokens), asked, loaded.context_length)
    logprobs = (asked.top_logprobs or 0) if asked.logprobs else None
    most = asked.answer_limit[1] or loaded.context_length - len(tokens)  # OpenAI's default: as long as it gets
    return Prepared(tokens, most, logprobs, ChatCompletion(served_name, len(tokens), logprobs))


@dataclass(frozen=True, slots=True)
class ChatCompletion(Writer):
    """Writes OpenAI's chat completion: the role first, then text, then the reason why it ends."""

    prefix: ClassVar[str] = "chatcmpl"
    chunk_kind: ClassVar[str] = "chat.completion.chunk"

    def whole(self, deltas: list[Delta]) -> dict[str, Any]:
        """As Writer's."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": "".join(delta.text for delta in deltas), "refusal": None},
            "logprobs": self._logprobs(tuple(token for delta in deltas for token in delta.scored)),
            "finish_reason": deltas[-1].finish_reason,
        }
        return {**self.object("chat.completion", [choice]), "usage": self.usage(deltas[-1])}

    def opening(self) -> list[dict[str, Any]]:
        """Who speaks."""
        return [self._chunk({"role": "assistant", "content": ""})]

    def chunks(self, delta: Delta) -> list[dict[str, Any]]:
        """Text, if there is any, and the end, if it has come."""
        events = []
        if delta.text or delta.scored:
            events.append(self._chunk({"content": delta.text}, self._logprobs(delta.scored)))
        if delta.finish_reason is not None:
            events.append(self._chunk({}, reason=delta.finish_reason))
        return events

    def _chunk(
        self, delta: dict[str, str], logprobs: dict[str, Any] | None = None, reason: str | None = None
    ) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return self.object(self.chunk_kind, [choice])

    def _logprobs(self, scored: tuple[ScoredToken, ...]) -> dict[str, Any] | None:
        if self.logprobs is None:
            return None
        content = [
            {
                **_named(token.name, token.logprob),
                "top_logprobs": [_named(name, logprob) for name, logprob in token.top.items()],
            }
            for token in scored
        ]
        return {"content": content, "refusal": None}


def _named(name: str, logprob: float) -> dict[str, Any]:
    """A token with its bytes, so that characters of several tokens can be put together."""
    letters = bytes.fromhex(name.removeprefix(BYTES).replace("\\x", "")) if name.startswith(BYTES) else name.encode()
    return {"token": name, "logprob": logprob, "bytes": list(letters)}
